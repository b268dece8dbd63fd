"""Time and memory to read model headers: intact ones with large vocabularies, and damaged ones.

usage: bin/bench headers [--count N] [--seed N]

Reads the header of a model with 128 256 tokens, then N (20 000) damaged copies of small GGUF and safetensors models.
Each must give a description, or an error with the byte and the reason. Exits with 1 if one takes 100 ms or 50 MB.
"""

import argparse
import random
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from oprel.core.exceptions import InvalidModelError
from oprel.formats.gguf import read_gguf
from oprel.formats.hugging_face.safetensors import read_safetensors
from oprel.formats.model_info import from_gguf
from tests.fixtures.gguf_factory import write_tiny_gguf
from tests.fixtures.known_models import write_known_model
from tests.unit.formats.test_gguf import Builder, small_model

MB = 10**6
MOST_SECONDS, MOST_BYTES = 0.1, 50 * MB
VOCABULARY_SECONDS, VOCABULARY_BYTES = 0.06, 20 * MB
TENSORS = (
    b'{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"BF16","shape":[4],"data_offsets":[16,24]}}'
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="oprel-bench-") as folder:
        return 0 if vocabulary(Path(folder)) & damaged(Path(folder), options.count, options.seed) else 1


def vocabulary(folder: Path) -> bool:
    path = write_known_model(folder / "large.gguf", "llama3.1-8b")
    seconds = min(cpu_seconds(lambda: read_gguf(path)) for _ in range(5))
    peak = peak_bytes(lambda: read_gguf(path))
    print(f"128 256 tokens: {seconds * 1000:.1f} ms of CPU, {peak / MB:.1f} MB")
    return seconds < VOCABULARY_SECONDS and peak < VOCABULARY_BYTES


def damaged(folder: Path, count: int, seed: int) -> bool:
    chance = random.Random(seed)
    tiny = write_tiny_gguf(folder / "tiny.gguf").read_bytes()
    whole = [(content, "gguf") for content in (small_model(), small_model(Builder(">")), tiny)]
    whole.append((len(TENSORS).to_bytes(8, "little") + TENSORS + bytes(24), "safetensors"))
    described = refused = 0
    slowest = largest = 0.0
    for _ in range(count):
        content, kind = whole[chance.randrange(len(whole))]
        path = folder / f"damaged.{kind}"
        path.write_bytes(mutated(content, chance))
        began = time.process_time()
        tracemalloc.start()
        if read(path):
            described += 1
        else:
            refused += 1
        largest = max(largest, tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        slowest = max(slowest, time.process_time() - began)
    print(f"{count} damaged headers: {described} described, {refused} refused with a byte and a reason;")
    print(f"at most {slowest * 1000:.1f} ms of CPU (with memory traced) and {largest / MB:.2f} MB for one")
    return slowest < MOST_SECONDS and largest < MOST_BYTES


def read(path: Path) -> bool:
    """Whether the header is accepted. Any error but an InvalidModelError that names a byte ends the benchmark."""
    try:
        if path.suffix == ".gguf":
            from_gguf(read_gguf(path))
        else:
            read_safetensors(path)
    except InvalidModelError as error:
        assert "(byte " in error.message, error.message
        return False
    return True


def mutated(content: bytes, chance: random.Random) -> bytes:
    """`content` with bytes set, bits flipped, parts cut out, repeated or overwritten by huge numbers, or truncated."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(max(1, min(len(data), 4096)))
        match chance.randrange(6):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                data[at : at + 1] = bytes([data[at] ^ 1 << chance.randrange(8)] if at < len(data) else [])
            case 2:
                del data[at : at + chance.randrange(64)]
            case 3:
                data[at:at] = data[at : at + chance.randrange(64)]
            case 4:
                data[at : at + 8] = chance.choice((2**64 - 1, 2**63, 2**32, 2**31, 0)).to_bytes(8, "little")
            case _:
                del data[at:]
    return bytes(data)


def cpu_seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


if __name__ == "__main__":
    sys.exit(main())
