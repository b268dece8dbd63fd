"""The client with the standard library alone, against a socket that answers with given bytes."""

import inspect
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oprel.client.plain.plain_client import PlainAnswer, PlainClient
from oprel.client_api import Client
from oprel.core.config import Config
from oprel.core.exceptions import BackendCrashedError, ConnectError, ModelNotFoundError, OprelError, UnsupportedError

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
NOT_FOUND = b'{"error":"no x","code":"model_not_found","resolution_steps":["Pull it."]}'
CRASHED = b'{"error":{"type":"backend_crashed","message":"it died"}}\n'

Answers = Callable[[bytes], PlainClient]


@pytest.fixture
def answers(tmp_path: Path) -> Iterator[Answers]:
    """Makes a client of a socket that answers one request with these bytes."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    threads: list[threading.Thread] = []

    def client(content: bytes) -> PlainClient:
        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(content)

        threads.append(threading.Thread(target=answer))
        threads[0].start()
        return PlainClient(Config(host=f"unix:{tmp_path / 's'}"))

    yield client
    for thread in threads:
        thread.join()
    listener.close()


def test_fields_of_an_answer_are_attributes_and_absent_ones_none(answers: Answers) -> None:
    client = answers(OK + b'\r\n{"models":[{"name":"a","details":{"family":"llama"}}]}')
    (model,) = client.list().models
    assert (model.name, model.details.family, model.source) == ("a", "llama", None)


def test_an_answer_without_a_body_is_a_success(answers: Answers) -> None:
    assert answers(OK + b"content-length: 0\r\n\r\n").copy("a", "b").status == "success"


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (b"", ConnectError, r"^lost the connection to unix:.*/s: Server disconnected without sending a response.$"),
        (OK + b'content-length: 99\r\n\r\n{"models', ConnectError, r"\(received 8 bytes, expected 99\)$"),
        (OK + b"\r\n<html>", OprelError, "^the server at this address is not oprel$"),
        (OK + b"\r\n[]", OprelError, "^the server at this address is not oprel$"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n" + NOT_FOUND, ModelNotFoundError, "^no x$"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n404 page not found", UnsupportedError, "does not have this call"),
        (b"HTTP/1.1 500 Oh\r\n\r\noh", OprelError, r"is not oprel \(HTTP 500\)$"),
    ],
)
def test_what_is_no_answer_is_an_error(answers: Answers, content: bytes, kind: type[OprelError], message: str) -> None:
    with pytest.raises(OprelError, match=f"(?m){message}") as caught:
        answers(content).list()
    assert type(caught.value) is kind or (kind is ConnectError and isinstance(caught.value, ConnectError))


def test_a_stream_is_its_lines(answers: Answers) -> None:
    client = answers(OK + b'\r\n{"response":"a","done":false}\n{"response":"b","done":true}\n')
    assert [piece.response for piece in client.generate("m", "hi", stream=True)] == ["a", "b"]


@pytest.mark.parametrize(
    ("rest", "kind", "message"),
    [(b"", ConnectError, "^lost the connection to unix:"), (CRASHED, BackendCrashedError, "^it died$")],
)
def test_a_stream_that_breaks_off_is_an_error(
    answers: Answers, rest: bytes, kind: type[OprelError], message: str
) -> None:
    pieces = answers(OK + b'\r\n{"response":"a","done":false}\n' + rest).generate("m", "hi", stream=True)
    assert next(pieces).response == "a"
    with pytest.raises(kind, match=f"(?m){message}"):
        next(pieces)


def test_no_listener_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match="^no daemon answers at unix:"):
        PlainClient(Config(host=f"unix:{tmp_path}/none")).list()
    with pytest.raises(ConnectError, match="^no daemon answers at unix:"):
        PlainClient(Config(home=str(tmp_path)), start=False).list()


def test_an_answer_has_no_methods_of_other_protocols() -> None:
    assert not hasattr(PlainAnswer(), "__deepcopy__")


@pytest.mark.parametrize("name", [name for name in vars(PlainClient) if not name.startswith("_")])
def test_methods_are_those_of_the_client(name: str) -> None:
    plain, whole = (inspect.signature(getattr(cls, name)).parameters for cls in (PlainClient, Client))
    named = [name for name, parameter in plain.items() if parameter.kind is not parameter.VAR_KEYWORD]
    assert named == [name for name in whole if name in named]
