"""JSON from untrusted files: read and parsed within limits; errors name the offending byte."""

import json
from collections import Counter
from pathlib import Path

from oprel.core.exceptions import InvalidModelError
from oprel.formats.byte_reader import DAMAGED

MAX_VALUES = 500_000  # three times what the largest models need; each takes about 100 bytes once parsed
LONGEST_BYTES = 32 * 1024**2

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


def invalid(path: Path, reason: str, at: int, advice: str = DAMAGED) -> InvalidModelError:
    """The error to raise. `at` is the offending byte."""
    return InvalidModelError(f"{path} is not a usable model: {reason} (byte {at})", advice)


def check_file(path: Path) -> None:
    """Raises InvalidModelError if `path` is not a file: reading a pipe would block."""
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise InvalidModelError(f"{path} {what}", "Give the path of a model file or folder.")


def unreadable(path: Path, error: OSError) -> InvalidModelError:
    return InvalidModelError(f"{path} cannot be read: {error.strerror}", "Check its permissions.")


def read_object(path: Path) -> dict[str, Json]:
    """The object in a JSON file. Raises InvalidModelError."""
    return parse_object(read_bytes(path), path)


def read_bytes(path: Path) -> bytes:
    """The content of a file, of one that is too long only its beginning. Raises InvalidModelError."""
    try:
        check_file(path)
        with path.open("rb") as file:
            return file.read(LONGEST_BYTES + 1)
    except OSError as error:
        raise unreadable(path, error) from error


def parse_object(data: bytes, path: Path, start: int = 0) -> dict[str, Json]:
    """The object in `data`, which begins at byte `start` of the file. Raises InvalidModelError."""
    if len(data) > LONGEST_BYTES:
        raise invalid(path, f"its JSON is larger than {LONGEST_BYTES} bytes", start)
    if not data.lstrip().startswith(b"{"):
        raise invalid(path, "a JSON object must begin here", start)
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MAX_VALUES:
        raise invalid(path, f"its JSON has more than {MAX_VALUES} values", start)
    try:
        # Always an object, since the text begins with a brace.
        parsed: dict[str, Json] = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise invalid(path, f"its JSON is invalid: {error.msg}", start + len(error.doc[: error.pos].encode())) from None
    except UnicodeDecodeError as error:
        raise invalid(path, "its JSON is not UTF-8", start + error.start) from None
    except (ValueError, RecursionError) as error:
        raise invalid(path, f"its JSON is invalid: {error}", start) from None
    return parsed


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """Refuse duplicate names: parsers differ in which value they use, so an engine might not use what was checked."""
    unique = dict(pairs)
    if len(unique) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the name {shown(twice)} occurs twice")
    return unique


def _no_number(word: str) -> Json:
    raise ValueError(f"{word} is not a number")


def shown(name: str) -> str:
    """A name from the file, shortened and safe to print."""
    return ascii(name if len(name) <= 64 else f"{name[:61]}...")
