"""The checks of this project.

usage: bin/test [NAME ...] [-- PYTEST-ARGUMENTS]

Without a name: lint, types, layers, tests (the quick ones). Stops at the first that fails.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = Path(sys.executable).parent

PYTEST = ["pytest", "-n", "3", "--durations=10"]  # on two cores: a third of their time the tests wait
# Markers with gates of their own.
JOBS = ("slow", "engines", "programs", "real", "templates", "gpu", "packages", "transcripts", "fuzz", "state")
ALL_BUT_JOBS = " and ".join(f"not {marker}" for marker in JOBS)
QUICK = f"not long and {ALL_BUT_JOBS}"
LONG = f"long and {ALL_BUT_JOBS}"
GATES: dict[str, list[list[str]]] = {
    "lint": [["ruff", "check", "--quiet"], ["ruff", "format", "--check", "--quiet"]],
    "types": [["mypy"]],
    "layers": [["lint-imports", "--no-logo"]],
    "tests": [[*PYTEST, "-m", QUICK]],
    "coverage": [[*PYTEST, "-m", ALL_BUT_JOBS, "--cov"]],  # the same, counted: half as long again
    "unit": [[*PYTEST, "-m", QUICK, "tests/unit", "tests/test_architecture.py", "tests/test_words.py"]],
    "integration": [[*PYTEST, "-m", QUICK, "tests/integration", "tests/security", "tests/clients", "tests/wire"]],
    "registry": [[*PYTEST, "-m", "registry"]],  # against Debian's docker-registry, which is unpacked for it
    "long": [[*PYTEST, "-m", LONG]],  # crashes, hangs and endurance: some minutes; a part of .ci/run
    "slow": [[*PYTEST, "-m", "slow"]],
    "soak": [["pytest", "-s", "-m", "slow", "tests/integration/test_soak.py"]],  # three minutes and half an hour
    "day": [["pytest", "-s", "-m", "slow", "tests/integration/test_a_day.py"]],  # 200 random days: a quarter of an hour
    "load": [["pytest", "-s", "-m", "slow", "tests/integration/test_load.py"]],  # a crowd of bad clients: two minutes
    "systems": [  # as if on Windows and on macOS: types, imports, pure tests
        ["mypy", "--platform", "win32", "oprel"],
        ["mypy", "--platform", "darwin", "oprel"],
        ["pytest", "--durations=5", "tests/unit/test_other_systems.py"],
    ],
    "vllm": [  # real vLLM and transformers, in an environment of their own: some minutes
        ["python", "bin/engines_env.py"],
        ["pytest", "-m", "engines", "--durations=5", "tests/engines"],
    ],
    "real": [  # two published models, which are fetched for it: a few minutes
        ["python", "bin/real_models.py"],
        ["pytest", "-m", "real", "--durations=5", "tests/real"],
    ],
    "gpu": [  # an engine with Vulkan on a device in software; the engine is built for it, which takes half an hour
        ["python", "bin/vulkan_engine.py"],
        ["pytest", "-m", "gpu", "--timeout=1200", "--durations=5", "tests/gpu"],
    ],
    "clients": [["pytest", "-m", "programs", "-rs", "tests/clients/programs"]],  # installs 2 GB of others' programs
    "templates": [["pytest", "-s", "-m", "templates", "tests/integration/test_chat_templates.py"]],  # three minutes
    "packages": [["pytest", "-s", "-m", "packages", "tests/packaging"]],  # pipx, uv, lock, steps of the image: minutes
    "fuzz": [["pytest", "-s", "--hypothesis-profile=fuzz", "--timeout=900", "tests/fuzz"]],  # prints counts; 20 minutes
    "transcripts": [["pytest", "-m", "transcripts", "--durations=5", "tests/transcripts"]],  # first hours at terminals
    "state": [["pytest", "-s", "-m", "state", "--durations=3", "tests/state"]],  # kills and damaged homes: some minutes
    "guide": [  # the bundled model's examinations
        ["python", "tools/guide/everyday.py", "oprel/bundled/guide.gguf"],
        ["python", "tools/guide/evaluate.py", "oprel/bundled/guide.gguf"],
    ],
}
LAST_FAILED = ROOT / ".pytest_cache/v/cache/lastfailed"
TESTS_FAILED = 1  # pytest's exit status
MOST_UNSTEADY = 5
DEFAULT = ["lint", "types", "layers", "tests"]


def main(arguments: list[str]) -> int:
    names, pytest_arguments = split(arguments)
    unknown = [name for name in names if name not in GATES]
    if unknown:
        sys.stderr.write(f"{__doc__}\nunknown: {' '.join(unknown)}; names: {' '.join(GATES)}\n")
        return 2
    return 0 if all(passes(name, pytest_arguments) for name in names or DEFAULT) else 1


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], arguments[at + 1 :]


def passes(name: str, pytest_arguments: list[str]) -> bool:
    """Run a gate and print its line. pytest's status 5, no tests found, is a failure like any other."""
    start = time.monotonic()
    good = all(succeeds(command, pytest_arguments) for command in GATES[name])
    print_line(f"{name:12}{'ok' if good else 'FAILED'}  {time.monotonic() - start:.1f} s")
    return good


def succeeds(command: list[str], pytest_arguments: list[str]) -> bool:
    extra = pytest_arguments if command[0] == "pytest" else []
    # Tests start oprel hundreds of times. Where the environment forbids bytecode, each start would compile it again.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    LAST_FAILED.unlink(missing_ok=True)  # of another gate
    status = subprocess.run([TOOLS / command[0], *command[1:], *extra], cwd=ROOT, env=environment).returncode
    if status == TESTS_FAILED and environment.get("CI") and command[: len(PYTEST)] == PYTEST:
        return pass_alone(command[len(PYTEST) :], environment)
    return status == 0


def pass_alone(selection: list[str], environment: dict[str, str]) -> bool:
    """Run failed tests once more, one after the other: whether they broke, or lost a race on a busy machine.

    Their failures stay in the output, and a line names how many were unsteady.
    """
    failed = json.loads(LAST_FAILED.read_text())
    if len(failed) > MOST_UNSTEADY:
        return False
    again: list[str | Path] = [TOOLS / "pytest", "--last-failed", "--last-failed-no-failures=none", *selection]
    good = subprocess.run(again, cwd=ROOT, env=environment).returncode == 0
    print_line(f"run again    {'ok, so unsteady' if good else 'FAILED'}: {', '.join(failed)}")
    return good


def print_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
