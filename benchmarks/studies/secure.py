"""The first token of streams side by side, on kept connections: over plain HTTP, with a key, and over HTTPS.

usage: bin/bench secure [--streams 16] [--requests 20] [--json]

The engine replays answers at the pace of an engine at work. Each stream has a connection of every kind, and sends its
requests over one after the other, so that all kinds meet the same load. The client is the same program, so that the
difference also has what decryption costs there. The figures are medians.
"""

import argparse
import asyncio
import json
import os
import socket
import ssl
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from benchmarks.processes import THIS, running_daemon
from benchmarks.subjects.replay import NDJSON
from oprel.core.config import Config
from oprel.core.state.keys import KeyStore, new_key
from tests.replay.programs import compiled

TOKENS, PACE_MS = 20, 20
TOKEN = b'"content":"'


@dataclass(frozen=True)
class Side:
    """A way to the daemon."""

    url: str
    key: str = ""
    trust: ssl.SSLContext | None = None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=16, help="connections at once (%(default)s)")
    parser.add_argument("--requests", type=int, default=20, help="of each stream over each kind (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    with sides(options.streams) as ways:
        figures = uvloop.run(measure(ways, options.streams, options.requests))
    if options.json:
        print(json.dumps(figures))
    else:
        print(f"first token of {options.streams} streams on {os.cpu_count()} CPUs")
        for name, milliseconds in figures.items():
            print(f"  {name:24} {milliseconds:7.3f} ms")
    return 0


@contextmanager
def sides(streams: int) -> Iterator[dict[str, Side]]:
    """Both ports of one daemon."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    settings = {
        "engine_path": compiled("replay_engine"),
        "parallel": streams,
        "tls_self_signed": "on",
        "tls_port": port,
    }
    with running_daemon(THIS, settings) as daemon:
        plain = next(word.rstrip(",") for word in daemon.log.split() if word.startswith("http://127"))
        trust = ssl.create_default_context(cafile=Config(home=str(daemon.home)).own_certificate)
        yield {
            "HTTP": Side(plain),
            "HTTP with a key": Side(plain, new_caller_key(daemon.home)),
            "HTTPS": Side(f"https://localhost:{port}", trust=trust),
        }


def new_caller_key(home: Path) -> str:
    """The secret of a key with limits, so that they are looked at too. The daemon takes it at once."""
    limits = 10**9
    key, secret = new_key("bench", "inference", requests_per_minute=limits, tokens_per_minute=limits, created=0)
    with closing(KeyStore.at(home / "state.db")) as store:
        store.add(key)
    return secret


async def measure(ways: dict[str, Side], streams: int, requests: int) -> dict[str, float]:
    """Milliseconds, and how much longer each kind took than the first one."""
    waits = await asyncio.gather(*(stream(ways, requests, number / streams) for number in range(streams)))
    rounds = [each for of_stream in waits for each in of_stream]
    first, *others = ways
    figures = {name: statistics.median(each[name] for each in rounds) for name in ways}
    return figures | {f"{name} - {first}": figures[name] - figures[first] for name in others}


async def stream(ways: dict[str, Side], requests: int, share: float) -> list[dict[str, float]]:
    """The waits of each round but the first, in which everything is cold. It begins after a `share` of an answer."""
    connections = {name: await Connection.opened(side) for name, side in ways.items()}
    await asyncio.sleep(share * TOKENS * PACE_MS / 1000)
    waits = [
        {name: await connection.first_token() for name, connection in connections.items()} for _ in range(1 + requests)
    ]
    for connection in connections.values():
        await connection.close()
    return waits[1:]


@dataclass(frozen=True)
class Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    key: str

    @classmethod
    async def opened(cls, side: Side) -> "Connection":
        url = urlsplit(side.url)
        return cls(*await asyncio.open_connection(url.hostname, url.port, ssl=side.trust), side.key)

    async def first_token(self) -> float:
        """Milliseconds until it came; returns at the end of the answer."""
        body = json.dumps(NDJSON.body(TOKENS, PACE_MS)).encode()
        key = f"Authorization: Bearer {self.key}\r\n" if self.key else ""
        head = f"POST {NDJSON.path} HTTP/1.1\r\nHost: localhost\r\n{key}Content-Length: {len(body)}\r\n\r\n"
        began = time.perf_counter()
        self.writer.write(head.encode() + body)
        await self.reader.readuntil(TOKEN)
        milliseconds = (time.perf_counter() - began) * 1e3
        await self.reader.readuntil(b"\r\n0\r\n\r\n")
        return milliseconds

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


if __name__ == "__main__":
    sys.exit(main())
