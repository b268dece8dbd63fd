"""What it takes to know whose a connection is.

usage: bin/bench callers [--connections 400] [--rounds 20]

Opens connections of this machine to a listener, and has the user of each looked up as the daemon does once for a
connection, beside the other way for systems that do not allow the first. Times are CPU time of this process.
"""

import argparse
import asyncio
import resource
import socket
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack

from oprel.server.access import peers
from oprel.server.access.peers import Endpoint, Peer

FILES = 64  # that are open besides the connections
LIMIT_US = 50.0  # for each connection


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2 * options.connections + FILES)), hard))
    with ExitStack() as stack:
        accepted = [connected(stack) for _ in range(options.connections)]
        first = [asyncio.run(of_new_connections(accepted)) for _ in range(options.rounds)]
        ends = [(peers._endpoint(each.getpeername()), peers._endpoint(each.getsockname())) for each in accepted[:20]]
        other = microseconds(peers._by_proc, ends)
    median, least = statistics.median(first), min(first)  # the least: other work on the machine slows the rest
    print(f"{options.connections} connections, {options.rounds} rounds, in us a connection:")
    print(f"  its user, as the daemon looks it up: least {least:.1f}, median {median:.1f}")
    print(f"  from /proc/net/tcp: {other:.1f}")
    return 0 if least <= LIMIT_US else 1


def connected(stack: ExitStack) -> socket.socket:
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    stack.enter_context(socket.create_connection(listener.getsockname()))
    return stack.enter_context(listener.accept()[0])


async def of_new_connections(accepted: list[socket.socket]) -> float:
    began = time.process_time()
    for connection in accepted:
        await Peer(connection).user()
    return (time.process_time() - began) / len(accepted) * 1e6


def microseconds(look_up: Callable[[Endpoint, Endpoint], int | None], ends: list[tuple[Endpoint, Endpoint]]) -> float:
    began = time.process_time()
    for client, server in ends:
        look_up(client, server)
    return (time.process_time() - began) / len(ends) * 1e6


if __name__ == "__main__":
    sys.exit(main())
