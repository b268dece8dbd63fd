"""Parses and formats durations, sizes, counts and times. Pure."""

import re
import time
from datetime import UTC, datetime
from functools import lru_cache

MICRO, SECOND = 10**3, 10**9  # ns
NANOSECONDS = {
    "ns": 1,
    "us": MICRO,
    "µs": MICRO,
    "μs": MICRO,
    "ms": 10**6,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
}
# C0 and C1 but for tab and line feed; marks, embeddings, overrides and isolates of direction; line separators; and
# C1 as a byte that is not UTF-8, which PEP 383 hides in a text and a terminal would get.
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\udc80-\udc9f]")
_HIDDEN_BYTES = re.compile("[\udc80-\udcff]{2,}")
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)([^\d.]*)", re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds of a Go duration: decimals with units, an optional sign, or a bare "0".

    >>> parse_duration("1h30m"), parse_duration("300ms"), parse_duration("-1m"), parse_duration("0")
    (5400.0, 0.3, -60.0, 0.0)

    Raises ValueError with the message of Go, as Ollama's clients expect.
    """
    body = re.sub("^[+-]", "", text)
    if body == "0":
        return 0.0
    parts = _PART.findall(body)
    if not parts or "".join(number + unit for number, unit in parts) != body:
        raise ValueError(f'time: invalid duration "{text}"')
    for _, unit in parts:
        if unit not in NANOSECONDS:
            raise ValueError(
                f'time: {f"""unknown unit "{unit}" in""" if unit else "missing unit in"} duration "{text}"'
            )
    seconds = sum(float(number) * NANOSECONDS[unit] for number, unit in parts) / SECOND
    return -seconds if text.startswith("-") else seconds


def harmless(text: str) -> str:
    r"""`text` with escapes for what controls a terminal or reverses its order; line ends and tabs stay as they are.

    The one filter for text of strangers, such as models and requests, in the log, in messages and at terminals.

    >>> print(harmless("a\x1b]0;title\x07b\u202e\r\nc\rd"))
    a\x1b]0;title\x07b\u202e
    c\x0dd
    >>> harmless("\udcc2\udc9b0m"), harmless("caf\udce9")  # bytes that are not UTF-8: C1 in pieces, and a name
    ('\\x9b0m', 'caf\udce9')
    """
    if text.isascii() and text.isprintable():
        return text
    return CONTROLS.sub(_escaped, _HIDDEN_BYTES.sub(_as_written, text.replace("\r\n", "\n")))


def abridged(text: str, most: int) -> str:
    """`text`, or its beginning and end in about `most` characters.

    >>> abridged("model 'aaaaaaaaaaaa' not found", 20)
    "model 'aaa … not found"
    """
    half = most // 2
    return text if len(text) <= most else f"{text[:half]} … {text[-half:].lstrip()}"


def one_line(text: str) -> str:
    r"""`text` made harmless, in one line.

    >>> one_line("a\n\x1bb")
    'a \\x1bb'
    """
    return " ".join(harmless(text).expandtabs().splitlines())


def harmless_json(text: str) -> str:
    r"""JSON that says the same and controls no terminal.

    >>> print(harmless_json('{"name": "\x7f\u202e"}'))
    {"name": "\u007f\u202e"}
    """
    return CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _as_written(match: re.Match[str]) -> str:
    """The characters that bytes make together, once they are written one after the other."""
    return match[0].encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\u{code:04x}" if 0x100 <= code < 0xDC00 else f"\\x{code & 0xFF:02x}"


def human_size(size_bytes: int) -> str:
    """Bytes with a decimal unit, as Ollama prints them.

    >>> human_size(999), human_size(275_456), human_size(4_700_000_000)
    ('999 B', '275 KB', '4.7 GB')
    """
    if size_bytes < 1000:
        return f"{size_bytes} B"
    power = min((len(str(size_bytes)) - 1) // 3, 4)
    value = size_bytes / 1000**power
    return f"{value:.{1 if value < 10 else 0}f} {'KMGT'[power - 1]}B"


def human_count(count: int) -> str:
    """A parameter count as model cards write it.

    >>> human_count(134_515_008), human_count(8_030_261_248), human_count(999)
    ('134.52M', '8.0B', '999')
    """
    for limit, suffix, digits in ((10**9, "B", 1), (10**6, "M", 2), (10**3, "K", 2)):
        if count >= limit:
            return f"{count / limit:.{digits}f}{suffix}"
    return str(count)


def human_interval(seconds: float) -> str:
    """A length of time in its largest unit; a negative one counts as zero.

    >>> human_interval(4), human_interval(61), human_interval(7300), human_interval(3 * 86_400)
    ('4 seconds', '1 minute', '2 hours', '3 days')
    """
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count = int(max(0.0, seconds) // length)
        if count or unit == "second":
            return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
    raise AssertionError("unreachable: seconds always match")


def timestamp(moment: datetime | None = None) -> str:
    """RFC 3339 in UTC with microseconds and a Z, the format of Ollama's `created_at`. By default the present."""
    if moment is not None:
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    seconds, rest = divmod(time.time_ns() // 1000, 1_000_000)
    return f"{_to_the_second(seconds)}.{rest:06}Z"


@lru_cache(maxsize=1)
def _to_the_second(seconds: int) -> str:
    """Cached, as the lines of all answers within a second begin with the same date."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
