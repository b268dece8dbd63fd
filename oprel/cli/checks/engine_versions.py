"""What an engine says of its version."""

import re

LAST_FAULTY_BUILD = 10_252  # of llama.cpp


def has_published_faults(version: str) -> bool:
    """Whether a version line of llama-server, or of the wheel, is of a build with faults that docs/security.md lists.

    >>> [has_published_faults(f"version: {text}") for text in ("10252 (ab12)", "11434 (a)", "xllamacpp 2026.10.11549")]
    [True, False, False]
    """
    build = re.search(r"version: (?:xllamacpp \d+\.\d+\.)?(\d+)\b", version)
    return build is not None and int(build[1]) <= LAST_FAULTY_BUILD


def version_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return next((line for line in lines if "version" in line), lines[0] if lines else "no version reported")
