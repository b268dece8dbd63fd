"""HTTP on the bytes, as the libraries of other languages write it: framing, offers to upgrade, old clients."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from oprel.core.names import GUIDE
from tests.conftest import RunningDaemon

WAIT = 30.0
QUESTION = json.dumps({"model": GUIDE, "prompt": "hi", "stream": False, "options": {"num_predict": 1}}).encode()
STREAMED = json.dumps({"model": GUIDE, "prompt": "hi", "options": {"num_predict": 3}}).encode()
EMPTY_SHOW = json.dumps({"model": "", "name": "tiny"}).encode()

# The heads as the programs send them; `{length}` or chunks follow.
JAVA = (
    "Connection: Upgrade, HTTP2-Settings\r\n{framing}\r\nHost: 127.0.0.1:11434\r\n"
    "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\n"
    "User-Agent: Java-http-client/17.0.15\r\nContent-Type: application/json\r\n"
)
CURL = (
    "Host: 127.0.0.1:11434\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n{framing}\r\nContent-Type: application/json\r\n"
)
GO = (
    "Host: 127.0.0.1:11434\r\nUser-Agent: ollama/0.34.1 (amd64 linux) Go/go1.26\r\n{framing}\r\n"
    "Accept: application/json\r\nContent-Type: application/json\r\nAccept-Encoding: gzip\r\n"
)
KEPT = "Host: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n{framing}\r\n"
HEADS = {"java": JAVA, "curl --http2": CURL, "go": GO, "an upgrade to something else": KEPT}


def with_length(path: str, head: str, body: bytes, version: str = "1.1") -> bytes:
    return f"POST {path} HTTP/{version}\r\n{head.format(framing=f'Content-Length: {len(body)}')}\r\n".encode() + body


def in_chunks(path: str, head: str, body: bytes) -> bytes:
    middle = len(body) // 2
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:middle], body[middle:]))
    return (
        f"POST {path} HTTP/1.1\r\n{head.format(framing='Transfer-Encoding: chunked')}\r\n".encode()
        + chunks
        + b"0\r\n\r\n"
    )


class Connection:
    """One connection, with the answers on it in turn."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT)
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        """Each part in a packet of its own."""
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            self.socket.sendall(part)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        status = int(self.file.readline().split()[1])
        lines = iter(lambda: self.file.readline().strip().decode(), "")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return status, headers, self._body(headers)

    def _body(self, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            return self.file.read(int(headers["content-length"]))
        if headers.get("transfer-encoding") == "chunked":
            return b"".join(self._chunks())
        return self.file.read()

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.file.readline(), 16):
            yield self.file.read(size)
            self.file.readline()
        self.file.readline()


@pytest.fixture
def connection(shared_daemon: RunningDaemon) -> Iterator[Connection]:
    with Connection(port_of(shared_daemon)) as connection:
        yield connection


def port_of(daemon: RunningDaemon) -> int:
    return int(daemon.url.rsplit(":", 1)[1])


@pytest.mark.parametrize("framed", [with_length, in_chunks])
@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
def test_a_body_arrives_whatever_upgrade_is_offered(connection: Connection, head: str, framed) -> None:
    connection.send(framed("/api/generate", head, QUESTION))
    status, headers, body = connection.answer()
    assert (status, json.loads(body)["done"]) == (200, True)
    assert headers["content-length"] == str(len(body)) and "upgrade" not in headers


@pytest.mark.parametrize("framed", [with_length, in_chunks])
@pytest.mark.parametrize("head", [JAVA, CURL], ids=["java", "curl --http2"])
def test_it_arrives_in_pieces_and_the_connection_is_used_again(connection: Connection, head: str, framed) -> None:
    request = framed("/api/show", head, EMPTY_SHOW)
    end_of_head = request.index(b"\r\n\r\n") + 4
    connection.send(request[:10], request[10:end_of_head], request[end_of_head:])
    assert connection.answer()[0] == 200
    connection.send(framed("/api/show", head, EMPTY_SHOW))
    assert connection.answer()[0] == 200
    connection.send(b"GET /api/version HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    assert connection.answer()[0] == 200


def test_requests_in_one_packet_are_answered_in_turn(connection: Connection) -> None:
    connection.send(with_length("/api/show", CURL, EMPTY_SHOW) + in_chunks("/api/generate", JAVA, QUESTION))
    assert "model_info" in json.loads(connection.answer()[2])
    assert json.loads(connection.answer()[2])["done"] is True


def test_an_upload_with_an_offer_arrives_whole(connection: Connection) -> None:
    """Larger than what the daemon reads at once."""
    content = json.dumps({"model": "tiny", "tokens": [], "padding": "x" * 2_000_000}).encode()
    connection.send(in_chunks("/api/detokenize", JAVA, content))
    assert connection.answer()[0] == 200


@pytest.mark.parametrize("body", [QUESTION, STREAMED], ids=["whole", "streamed"])
def test_a_client_of_http_1_0_gets_no_chunks(connection: Connection, body: bytes) -> None:
    connection.send(with_length("/api/generate", "{framing}\r\nHost: localhost\r\n", body, version="1.0"))
    status, headers, answer = connection.answer()
    assert status == 200 and "transfer-encoding" not in headers
    assert json.loads(answer.splitlines()[-1])["done"] is True
    assert connection.file.read() == b""  # closed


@pytest.mark.parametrize("path", ["/", "/api/tags", "/api/nonesuch", "/v1/models"])
def test_a_client_of_http_1_0_without_a_host_is_answered(connection: Connection, path: str) -> None:
    connection.send(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    status, headers, answer = connection.answer()
    assert status == (404 if path.endswith("nonesuch") else 200)
    assert headers["content-length"] == str(len(answer)) and headers["connection"] == "close"


MESSAGES = [{"role": "user", "content": "hi"}]
WHOLE: dict[str, dict[str, object]] = {
    "/api/generate": {"prompt": "hi", "stream": False, "options": {"num_predict": 1}},
    "/api/chat": {"messages": MESSAGES, "stream": False, "options": {"num_predict": 1}},
    "/api/embed": {"input": "hi"},
    "/api/embeddings": {"prompt": "hi"},
    "/api/show": {},
    "/api/tokenize": {"text": "hi"},
    "/api/pull": {"stream": False},
    "/v1/chat/completions": {"messages": MESSAGES, "max_tokens": 1},
    "/v1/completions": {"prompt": "hi", "max_tokens": 1},
    "/v1/embeddings": {"input": "hi"},
    "/v1/responses": {"input": "hi", "max_output_tokens": 1},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 1},
    "/v1/messages/count_tokens": {"messages": MESSAGES},
}


@pytest.mark.parametrize("path", WHOLE)
def test_a_whole_json_answer_has_its_length(connection: Connection, path: str) -> None:
    body = json.dumps({"model": GUIDE, **WHOLE[path]}).encode()
    connection.send(with_length(path, GO, body))
    status, headers, answer = connection.answer()
    assert status == 200 and json.loads(answer)
    assert headers["content-length"] == str(len(answer)) and "transfer-encoding" not in headers


@pytest.mark.parametrize(
    "request_line", [b"CONNECT example:443 HTTP/1.1", b"PRI * HTTP/2.0", b"POST /api/chat HTTP/9", b"hello"]
)
def test_what_is_no_request_is_refused_and_the_daemon_goes_on(
    shared_daemon: RunningDaemon, request_line: bytes
) -> None:
    with Connection(port_of(shared_daemon)) as connection:
        connection.send(request_line + b"\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        assert connection.answer()[0] == 400
    with Connection(port_of(shared_daemon)) as connection:
        connection.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.answer()[2] == b"Ollama is running"


def test_curl_asks_for_http_2_and_is_answered(shared_daemon: RunningDaemon) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("no curl on this machine")
    command = [curl, "-sS", "--http2", "-w", " %{http_version} %{http_code}", f"{shared_daemon.url}/api/generate"]
    for extra in ([], ["-H", "Transfer-Encoding: chunked"]):
        done = subprocess.run(
            [*command, *extra, "-d", QUESTION], capture_output=True, text=True, timeout=WAIT, check=True
        )
        answer, version, status = done.stdout.rsplit(" ", 2)
        assert (json.loads(answer)["done"], version, status) == (True, "1.1", "200")


JAVA_PROGRAM = """
import java.net.URI; import java.net.http.*; import java.net.http.HttpRequest.BodyPublishers;
public class Ask {
    public static void main(String[] given) throws Exception {
        var client = HttpClient.newHttpClient();
        byte[] body = given[1].getBytes();
        var framings = new HttpRequest.BodyPublisher[] {
            BodyPublishers.ofByteArray(body),
            BodyPublishers.ofInputStream(() -> new java.io.ByteArrayInputStream(body)) };
        for (var framing : framings) for (int time = 0; time < 2; time++) {
            var request = HttpRequest.newBuilder(URI.create(given[0])).POST(framing).build();
            System.out.println(client.send(request, HttpResponse.BodyHandlers.ofString()).body());
        }
    }
}
"""


def test_javas_default_client_is_answered(shared_daemon: RunningDaemon, tmp_path: Path) -> None:
    java = shutil.which("java")
    if java is None:
        pytest.skip("no java on this machine")
    (tmp_path / "Ask.java").write_text(JAVA_PROGRAM)
    command = [java, str(tmp_path / "Ask.java"), f"{shared_daemon.url}/api/generate", QUESTION.decode()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["done"] for line in done.stdout.splitlines()] == [True] * 4
