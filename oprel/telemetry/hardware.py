"""What this machine has."""

import re
from pathlib import Path

CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def memory_bytes() -> int:
    """The memory that this process and its engines may use: the machine's, or less in a container."""
    import psutil  # only here: it costs a start 20 ms

    limits = [limit for path in CGROUP_LIMITS if (limit := _number(path)) is not None]
    return min([int(psutil.virtual_memory().total), *limits])


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if re.fullmatch(r"\d+", text, re.ASCII) else None
