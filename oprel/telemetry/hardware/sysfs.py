"""Small files in which the kernel tells about the machine. What cannot be read says nothing."""

from pathlib import Path

LONGEST_BYTES = 64 * 1024  # enough for the first CPU of /proc/cpuinfo, which has all of a large machine


def text(path: Path) -> str:
    """The content without blanks around it; "" when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(LONGEST_BYTES).decode(errors="replace").strip()
    except (OSError, ValueError):  # the second for a path with a NUL in it
        return ""


def number(path: Path) -> int | None:
    """The number that is the whole content, in decimal or after 0x."""
    return as_number(text(path))


def as_number(word: str) -> int | None:
    """`word` as a number that is not negative, with at most 64 bits."""
    try:
        value = int(word[:32], 16 if word.startswith("0x") else 10)
    except ValueError:
        return None
    return value if 0 <= value < 2**64 else None


def table(path: Path) -> dict[str, int]:
    """Lines of a name and a number, as in /proc/meminfo; colons and units are left out."""
    rows = (line.replace(":", " ").split() for line in text(path).splitlines())
    return {row[0]: value for row in rows if len(row) > 1 and (value := as_number(row[1])) is not None}


def cpu_list(words: str) -> set[int]:
    """The CPUs of a list such as "0-3,8".

    >>> sorted(cpu_list("0-3,8")), cpu_list(""), cpu_list("none")
    ([0, 1, 2, 3, 8], set(), set())
    """
    found = set[int]()
    for part in words.split(","):
        first, _, last = part.strip().partition("-")
        begin, end = as_number(first), as_number(last or first)
        if begin is not None and end is not None and end < 2**16:
            found |= set(range(begin, end + 1))
    return found


def folders(path: Path) -> list[Path]:
    """What is in a folder, sorted by name; [] when it cannot be read."""
    try:
        return sorted(path.iterdir())
    except OSError:
        return []
