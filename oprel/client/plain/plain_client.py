"""`PlainClient`: the calls of simple commands over the daemon's Unix socket or pipe."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self

from oprel.client.base import Address, NotReachedError, key_for, lost_connection
from oprel.client.plain import requests
from oprel.client.plain.daemon_state import QUIET_SECONDS, SilenceChecks, check_alive
from oprel.client.plain.requests import Answer, PlainRequest
from oprel.client.plain.unix_http import Incoming, connected, exchange
from oprel.core.config import Config
from oprel.core.exceptions import OprelError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Unpack

    from oprel import api_models as wire
    from oprel.client import types
    from oprel.client.calls import GenerateExtras
    from oprel.utils.process.pipes import PipeEnd
    from oprel.wire import daemon as daemon_wire
    from oprel.wire import downloads as downloads_wire
    from oprel.wire import library as library_wire

CUT_OFF = "peer closed connection without sending complete message body (incomplete chunked read)"


class PlainAnswer(dict[str, Any]):
    """A JSON object whose fields are attributes too. One that the daemon left out is None, as in the wire types."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copy and pickle look for methods
            raise AttributeError(name)
        return self.get(name)


class PlainClient:
    """Has methods of `Client`, with its types for type checkers; nothing checks that answers match them.

    `start`: whether to start this machine's own daemon if it does not answer.
    """

    def __init__(self, config: Config, *, start: bool = True) -> None:
        address = Address.of(config)
        self.config = config
        self.address = address._replace(own=address.own and start)
        if self.address.own:
            from oprel.core.home import check_home

            check_home(config)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: "TracebackType | None"
    ) -> None:
        """Nothing stays open between calls."""

    def list(self) -> "types.ListResponse":
        return self._send(requests.list_models())

    def ps(self) -> "types.ProcessResponse":
        return self._send(requests.ps())

    def engines(self) -> "daemon_wire.ModelsResponse":
        return self._send(requests.engines())

    def health(self) -> "daemon_wire.HealthResponse":
        return self._send(requests.health())

    def show(self, model: str, *, verbose: bool = False) -> "types.ShowResponse":
        return self._send(requests.show(model, verbose=verbose))

    def copy(self, source: str, destination: str) -> "types.StatusResponse":
        return self._send(requests.copy(source, destination))

    def remove(self, model: str) -> "library_wire.RemovedResponse":
        return self._send(requests.remove(model))

    def unload(self, model: str) -> "wire.UnloadResponse":
        return self._send(requests.unload(model))

    def downloads(self) -> "downloads_wire.DownloadsResponse":
        return self._send(requests.downloads())

    def cancel_download(self, id: str) -> "downloads_wire.DownloadTask":
        return self._send(requests.one_download(id, "DELETE"))

    def embed(
        self,
        model: str,
        input: str,
        *,
        truncate: bool | None = None,
        options: "types.AnyOptions | None" = None,
        keep_alive: float | str | None = None,
        dimensions: int | None = None,
    ) -> "wire.EmbedResponse":
        shape = {"truncate": truncate, "dimensions": dimensions}
        return self._send(
            requests.embed(model, {"input": input, "options": options, "keep_alive": keep_alive, **shape})
        )

    def generate(
        self, model: str, prompt: str, *, stream: Literal[True], **extras: "Unpack[GenerateExtras]"
    ) -> "Iterator[wire.GenerateResponse]":
        body = {"prompt": prompt, "stream": stream, **extras}
        return self._stream(requests.generate(model, body), lambda piece: piece.done)

    def pull(self, model: str, *, insecure: bool = False, stream: Literal[True]) -> "Iterator[wire.ProgressResponse]":
        return self._stream(requests.pull(model, insecure, stream), lambda piece: piece.status == "success")

    def _send(self, request: PlainRequest[Answer]) -> Answer:
        with self._answered(request) as incoming:
            content = incoming.content()
        if incoming.status >= 400:
            raise requests.rebuilt(content, incoming.status)
        answer: Answer = _parsed(content or request.if_empty)
        return answer

    def _stream(self, request: PlainRequest[Answer], is_last: "Callable[[Answer], bool]") -> Iterator[Answer]:
        done = False
        with self._answered(request) as incoming:
            if incoming.status >= 400:
                raise requests.rebuilt(incoming.content(), incoming.status)
            for line in incoming.body:
                if line.startswith(b'{"error"'):
                    raise requests.rebuilt(line)
                yield (piece := _parsed(line))
                done = is_last(piece)
        if not done:
            raise lost_connection(self.address, CUT_OFF)

    @contextmanager
    def _answered(self, request: PlainRequest[Answer]) -> Iterator[Incoming]:
        """The answer to a request. Raises ConnectError."""
        body = b"" if request.body is None else json.dumps(request.body).encode()
        key = key_for(self.address, self.config)
        with closing(self._connected()) as connection:
            try:
                checks = SilenceChecks(partial(check_alive, self.address, self.config))
                with exchange(connection, request.method, request.path, body, checks, key) as incoming:
                    yield incoming
            except OprelError:
                raise
            except OSError as error:
                raise lost_connection(self.address, str(error)) from error

    def _connected(self) -> "PipeEnd":
        """A connection, to this machine's own daemon after starting it if necessary. Raises ConnectError."""
        try:
            return connected(self.address, QUIET_SECONDS)
        except OSError as error:
            from oprel.client.own_daemon import reached_again

            if not reached_again(self.address, self.config):
                raise NotReachedError.at(self.address) from error
        try:
            return connected(self.address, QUIET_SECONDS)
        except OSError as error:
            raise NotReachedError.at(self.address) from error


def _parsed(content: bytes) -> Any:
    """Raises OprelError."""
    try:
        answer = json.loads(content, object_hook=PlainAnswer)
    except ValueError as error:
        raise requests.not_oprel() from error
    if not isinstance(answer, PlainAnswer):
        raise requests.not_oprel()
    return answer
