"""Read the small files of /proc and /sys. Files that cannot be read count as empty."""

from pathlib import Path

LONGEST_BYTES = 64 * 1024  # enough for the first CPU in /proc/cpuinfo, which repeats itself for each


def text(path: Path, longest: int = LONGEST_BYTES) -> str:
    """The first `longest` bytes without surrounding whitespace; "" if the file cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(longest).decode(errors="replace").strip()
    except (OSError, ValueError):  # ValueError: a path with a NUL in it
        return ""


def number(path: Path) -> int | None:
    """The number that is the whole content, decimal or hexadecimal after 0x; None if it is not one."""
    return as_number(text(path))


def as_number(word: str) -> int | None:
    """`word` as a non-negative number of at most 64 bits, else None."""
    try:
        value = int(word[:32], 16 if word.startswith("0x") else 10)
    except ValueError:
        return None
    return value if 0 <= value < 2**64 else None


def table(path: Path, longest: int = LONGEST_BYTES) -> dict[str, int]:
    """Lines of a name and a number, as in /proc/meminfo, without colons and units."""
    rows = (line.replace(":", " ").split() for line in text(path, longest).splitlines())
    return {row[0]: value for row in rows if len(row) > 1 and (value := as_number(row[1])) is not None}


def cpu_list(words: str) -> set[int]:
    """The CPUs of a list such as "0-3,8".

    >>> sorted(cpu_list("0-3,8")), cpu_list(""), cpu_list("none")
    ([0, 1, 2, 3, 8], set(), set())
    """
    cpus = set[int]()
    for part in words.split(","):
        first, _, last = part.strip().partition("-")
        begin, end = as_number(first), as_number(last or first)
        if begin is not None and end is not None and end < 2**16:
            cpus |= set(range(begin, end + 1))
    return cpus


def folders(path: Path) -> list[Path]:
    """The entries of a folder, sorted by name; [] if it cannot be read."""
    try:
        return sorted(path.iterdir())
    except OSError:
        return []
