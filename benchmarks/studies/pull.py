"""A large file over loopback: oprel's verified, resumable transfer, curl with sha256sum, and a plain ranged download.

usage: bin/bench pull [--megabytes 2000] [--rounds 3] [--folder PATH] [--json]

The plain download requests the same ranges with the same client and equal concurrency; it keeps no state and computes
no digest. curl's output goes to the file and to sha256sum. All write to the same disk and end with fsync. The server,
which only calls sendfile, and each download are separate processes, so that their memory can be measured.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import httpx

from benchmarks.processes import ROOT
from oprel.downloader.network.clients import open_client
from oprel.downloader.source import RemoteFile
from oprel.downloader.transfer.fetch import Limits, fetch

SERVER = "tests.fixtures.hub_server"
LIMITS = Limits()
MEGABYTE = 10**6
KINDS = ("plain", "curl", "oprel")
CURL = 'set -o pipefail; curl -fsSL "$0" | tee "$1" | sha256sum; sync "$1"'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=2000, help="size of the file (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="downloads of each kind, alternating (%(default)s)")
    parser.add_argument("--folder", type=Path, help="where to download to (a temporary folder)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--download", nargs=5, metavar="WORD", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.download:
        return download_once(*options.download)
    figures = measure(options.megabytes * MEGABYTE, options.rounds, options.folder)
    if options.json:
        print(json.dumps(figures))
    else:
        print(f"pull of {options.megabytes} MB over loopback, {options.rounds} rounds, on {os.cpu_count()} CPUs")
        print(f"  plain ranged download  {figures['plain_mb_s']:7.0f} MB/s")
        print(f"  curl with sha256sum    {figures['curl_mb_s']:7.0f} MB/s")
        print(f"  oprel, verified        {figures['oprel_mb_s']:7.0f} MB/s   {figures['ratio']:.2f} of the plain one")
        print(f"                                        {figures['ratio_to_curl']:.2f} of curl's")
        print(f"  peak memory            {figures['small_mb']:7.0f} MB for a tenth of the file")
        print(f"                         {figures['large_mb']:7.0f} MB for the whole file")
    return 0


def measure(size: int, rounds: int, folder: Path | None) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="oprel-bench-", dir=folder) as root:
        large = write_file(Path(root) / "org/large/model.gguf", size)
        small = write_file(Path(root) / "org/small/model.gguf", size // 10)
        with serving(Path(root)) as url:
            for name in ("large", "small"):  # the server computes their digests once
                httpx.head(f"{url}/org/{name}/resolve/main/model.gguf", timeout=None, trust_env=False)
            runs = {kind: list[dict[str, float]]() for kind in KINDS}
            for _ in range(rounds):
                for kind, results in runs.items():
                    results.append(run(kind, f"{url}/org/large/resolve/main/model.gguf", large, Path(root)))
            light = run("oprel", f"{url}/org/small/resolve/main/model.gguf", small, Path(root))
    plain, curl, ours = (statistics.median(run["seconds"] for run in runs[kind]) for kind in KINDS)
    return {
        "plain_mb_s": size / plain / MEGABYTE,
        "curl_mb_s": size / curl / MEGABYTE,
        "oprel_mb_s": size / ours / MEGABYTE,
        "ratio": plain / ours,
        "ratio_to_curl": curl / ours,
        "small_mb": light["memory"] / MEGABYTE,
        "large_mb": max(run["memory"] for run in runs["oprel"]) / MEGABYTE,
    }


def write_file(path: Path, size: int) -> RemoteFile:
    """Write a file and describe it, without its URL, which the server decides."""
    path.parent.mkdir(parents=True)
    block, digest, left = random.Random(1).randbytes(16 * MEGABYTE), hashlib.sha256(), size
    with path.open("wb") as file:
        while left:
            piece = block[:left]
            file.write(piece)
            digest.update(piece)
            left -= len(piece)
    return RemoteFile(name="model.gguf", url="", size_bytes=size, sha256=digest.hexdigest())


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, "-m", SERVER, folder], stdout=subprocess.PIPE, text=True, env=environment()
    ) as server:
        assert server.stdout
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


def run(kind: str, url: str, file: RemoteFile, folder: Path) -> dict[str, float]:
    """Seconds and peak memory of one download in a process of its own."""
    target = folder / "there"
    command = [sys.executable, __file__, "--download", kind, url, str(file.size_bytes), file.sha256, str(target)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT, env=environment()).stdout
    target.unlink()
    figures: dict[str, float] = json.loads(output)
    return figures


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def download_once(kind: str, url: str, size: str, sha256: str, target: str) -> int:
    file = RemoteFile(name="model.gguf", url=url, size_bytes=int(size), sha256=sha256)
    began = time.perf_counter()
    if kind == "curl":
        with_curl(file, target)
    else:
        asyncio.run({"plain": plain, "oprel": ours}[kind](file, Path(target)))
    seconds = time.perf_counter() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "memory": memory}))
    return 0


def with_curl(file: RemoteFile, target: str) -> None:
    words = ["bash", "-c", CURL, file.url, target]
    output = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert output.startswith(file.sha256), "curl got another file"


async def ours(file: RemoteFile, target: Path) -> None:
    async with open_client() as client:
        await fetch(file, target, client=client, limits=LIMITS)


async def plain(file: RemoteFile, target: Path) -> None:
    """Download ranges in parallel, each written at its position."""
    step = LIMITS.segment_bytes
    ranges = deque((start, min(start + step, file.size_bytes)) for start in range(0, file.size_bytes, step))
    descriptor = os.open(target, os.O_RDWR | os.O_CREAT)
    async with httpx.AsyncClient(trust_env=False, follow_redirects=True) as client:

        async def work() -> None:
            while ranges:
                position, end = ranges.popleft()
                headers = {"Range": f"bytes={position}-{end - 1}"}
                async with client.stream("GET", file.url, headers=headers) as response:
                    async for piece in response.aiter_raw():
                        os.pwrite(descriptor, piece, position)
                        position += len(piece)

        await asyncio.gather(*(work() for _ in range(LIMITS.segments)))
    os.fsync(descriptor)
    os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
