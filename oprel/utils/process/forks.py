"""What a forked child must not share with its parent.

A child inherits the parent's open connections. If both used one, each could read the other's answers. And as long as
the child holds one, its server does not notice that the parent has closed it. So every connection is dead in the child.
"""

import contextlib
import os
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from oprel.utils.process import systems

if TYPE_CHECKING:
    import httpx

Owner = TypeVar("Owner")


class Stream(Protocol):
    """A connection that can tell its socket: of httpcore, or a transport of asyncio."""

    def get_extra_info(self, info: str) -> Any:
        """Its socket, for the info "socket"."""


_streams: "WeakSet[Stream]" = WeakSet()
_owners: "WeakKeyDictionary[object, Callable[[Any], None]]" = WeakKeyDictionary()


def in_child(owner: Owner, start_anew: Callable[[Owner], None]) -> None:
    """Call `start_anew(owner)` in each forked child, as long as `owner` exists.

    It must replace locks: another thread of the parent may have held one, and does not exist in the child.
    """
    _owners[owner] = start_anew


def watch(http: "httpx.Client | httpx.AsyncClient") -> None:
    """Make the connections of `http` dead in each forked child: at their end for readers, broken for writers."""
    import httpx  # imported late, like httpcore: a daemon that downloads nothing does not use it

    http.event_hooks["request"].append(_trace_async if isinstance(http, httpx.AsyncClient) else _trace)


def watch_stream(stream: Stream) -> None:
    """Make this connection dead in each forked child."""
    _streams.add(stream)


def _trace(request: "httpx.Request") -> None:
    request.extensions["trace"] = _note


async def _trace_async(request: "httpx.Request") -> None:
    request.extensions["trace"] = _note_async


def _note(event: str, info: Mapping[str, object]) -> None:
    """httpcore's report of a step of a request; steps that connect return the stream."""
    import httpcore

    stream = info.get("return_value")
    if isinstance(stream, httpcore.NetworkStream | httpcore.AsyncNetworkStream):
        _streams.add(stream)


async def _note_async(event: str, info: Mapping[str, object]) -> None:
    _note(event, info)


def _drop_inherited() -> None:
    dead, other_end = socket.socketpair()
    other_end.close()
    with dead:
        for stream in list(_streams):
            with contextlib.suppress(OSError):  # closed meanwhile
                inherited = stream.get_extra_info("socket")
                # Replaced, not closed: the number belongs to an object that may close it once more.
                if inherited is not None and inherited.fileno() >= 0:
                    os.dup2(dead.fileno(), inherited.fileno(), inheritable=False)
    _streams.clear()
    for owner, start_anew in list(_owners.items()):
        start_anew(owner)


systems.on_fork(_drop_inherited)
