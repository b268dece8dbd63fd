"""Make .venv-engines, with the engines that `bin/test vllm` runs: vLLM for CPUs, and `transformers serve`.

They are too large for .venv (2.5 GB), and want other versions of things. Linux on x86-64, and an index that has
PyTorch's builds for CPUs (`+cpu`): PyPI has none.
"""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

from oprel.runtime.backends.engines import transformers, vllm
from oprel.runtime.binaries import environments

VENV = Path(__file__).resolve().parent.parent / ".venv-engines"
DONE = VENV / "installed"
RECIPE = replace(vllm.ON_CPUS, requirements=(*vllm.ON_CPUS.requirements, *transformers.REQUIREMENTS))


def main() -> int:
    wanted = " ".join(RECIPE.requirements)
    if not (DONE.exists() and DONE.read_text() == wanted):
        shutil.rmtree(VENV, ignore_errors=True)
        environments.make(RECIPE, VENV, shown=sys.stderr.isatty())
        DONE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
