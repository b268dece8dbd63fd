"""JSON out of files that came from somewhere: read and parsed with bounds, refused with the byte that is wrong."""

import json
from collections import Counter
from pathlib import Path

from oprel.core.exceptions import InvalidModelError
from oprel.formats.byte_reader import DAMAGED

MAX_VALUES = 500_000  # what the largest models need is a third of it; each takes some 100 bytes once parsed
LONGEST_BYTES = 32 * 1024**2

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


def invalid(path: Path, reason: str, at: int, advice: str = DAMAGED) -> InvalidModelError:
    """The error to raise; `at` is the byte to blame."""
    return InvalidModelError(f"{path} is no usable model: {reason} (byte {at})", advice)


def check_file(path: Path) -> None:
    """Raises InvalidModelError where `path` is not a file: a pipe would block its reader."""
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise InvalidModelError(f"{path} {what}", "Give the path of a model's file or folder.")


def unreadable(path: Path, error: OSError) -> InvalidModelError:
    return InvalidModelError(f"{path} cannot be read: {error.strerror}", "Check its permissions.")


def read_object(path: Path) -> dict[str, Json]:
    """The object that a JSON file holds. Raises InvalidModelError."""
    try:
        check_file(path)
        with path.open("rb") as file:
            data = file.read(LONGEST_BYTES + 1)
    except OSError as error:
        raise unreadable(path, error) from error
    return parse_object(data, path)


def parse_object(data: bytes, path: Path, start: int = 0) -> dict[str, Json]:
    """The object in `data`, which begins at byte `start` of the file. Raises InvalidModelError."""
    if len(data) > LONGEST_BYTES:
        raise invalid(path, f"its JSON takes more than {LONGEST_BYTES} bytes", start)
    if not data.lstrip().startswith(b"{"):
        raise invalid(path, "a JSON object must begin here", start)
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MAX_VALUES:
        raise invalid(path, f"its JSON has more than {MAX_VALUES} values", start)
    try:
        # Never a list or a number: it begins with a brace.
        found: dict[str, Json] = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise invalid(path, f"its JSON is wrong: {error.msg}", start + len(error.doc[: error.pos].encode())) from None
    except UnicodeDecodeError as error:
        raise invalid(path, "its JSON is not UTF-8", start + error.start) from None
    except (ValueError, RecursionError) as error:
        raise invalid(path, f"its JSON is wrong: {error}", start) from None
    return found


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """Which of two equal names counts depends on the reader: what is checked would not be what is used."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the name {shown(twice)} comes twice")
    return found


def _no_number(word: str) -> Json:
    raise ValueError(f"{word} is no number")


def shown(name: str) -> str:
    """A name from the file, made safe for a terminal and short."""
    return ascii(name if len(name) <= 64 else f"{name[:61]}...")
