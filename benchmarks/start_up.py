"""Start-up time: `import oprel`, `oprel --version`, and an answer from a warm daemon.

usage: bin/bench start-up [--rounds 20] [--json]

Each round runs every command once as a process; the bare `python -c pass` is the baseline. Medians in ms.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fixtures.gguf_factory import write_tiny_gguf

OPREL = [sys.executable, "-P", "-m", "oprel"]
LAUNCHER = Path(__file__).parent.parent / "bin" / "oprel"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="oprel-bench-") as folder:
        medians = measure(Path(folder), options.rounds)
    if options.json:
        print(json.dumps({"rounds": options.rounds, "median_ms": medians}))
        return 0
    print(f"start-up, median of {options.rounds} processes")
    for name, value in medians.items():
        print(f"  {name:38}{value:8.1f} ms   bare python {value - medians['python -c pass']:+.1f} ms")
    return 0


def measure(folder: Path, rounds: int) -> dict[str, float]:
    model = write_tiny_gguf(folder / "tiny.gguf")
    environment = {**os.environ, "OPREL_HOME": str(folder / "home"), "OPREL_SERVER_PORT": "0"}
    ways = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import oprel": [sys.executable, "-c", "import oprel"],
        "import oprel; oprel.Client": [sys.executable, "-c", "import oprel; oprel.Client"],
        "python -m oprel --version": [*OPREL, "--version"],
        "bin/oprel --version": [str(LAUNCHER), "--version"],
        "oprel run, warm daemon": [*OPREL, "run", str(model), "hello"],
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):  # the first round is a warm-up and starts the daemon
        for name, command in ways.items():
            began = time.perf_counter()
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
            times[name].append(time.perf_counter() - began)
    subprocess.run([*OPREL, "stop", "--daemon"], env=environment, stdout=subprocess.DEVNULL, check=True)
    return {name: statistics.median(values[1:]) * 1e3 for name, values in times.items()}


if __name__ == "__main__":
    sys.exit(main())
