"""Faults between this machine and a server, for every kind of source: name servers, certificates and proxies."""

import asyncio
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from huggingface_hub import close_session

from oprel.core.configuration.environment import network_variables
from oprel.downloader.network import clients
from tests.fixtures import weather as acts
from tests.fixtures.weather import ALWAYS, Fault, Source, Step, Weather
from tests.fixtures.weather_pulls import check, shorten_waits

HOST = "weather.example"
NONE = Fault(name="none", act=lambda exchange, reply: exchange.send(reply))
LAST = [(source, Step.BYTES, NONE) for source in Source]  # a model from each source
PROXY_LOGIN = Fault(
    name="a login of the proxy",
    act=acts.status(407),
    times=ALWAYS,
    error=r"the proxy of http_proxy \(127\.0\.0\.1:\d+\) asks for a login \(HTTP 407\)",
)


def told(error: str) -> list[tuple[Source, Step, Fault]]:
    """A model from each source that does not come, for this reason."""
    fault = Fault(name=error, act=NONE.act, error=error)
    return [(source, Step.LISTING, fault) for source in Source]


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A network without what the environment says of it."""
    shorten_waits(monkeypatch)
    for name in network_variables():
        monkeypatch.delenv(name)
    forget_clients()
    yield
    forget_clients()


def forget_clients() -> None:
    clients._trusted.cache_clear()
    close_session()  # of the hub's library


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have HOST be this machine, after so many failures of its look-up."""
    real = socket.getaddrinfo

    def after(failures: int = 0, error: int = socket.EAI_AGAIN) -> None:
        left = [failures]

        def getaddrinfo(host: str | bytes, *rest: object, **named: object) -> object:
            if host not in (HOST, HOST.encode()):
                return real(host, *rest, **named)  # type: ignore[arg-type]
            left[0] -= 1
            if left[0] >= 0:
                raise socket.gaierror(error, "no answer")
            return real("127.0.0.1", *rest, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return after


@pytest.fixture
def weather(tiny: Path) -> Iterator[Weather]:
    with Weather(tiny.read_bytes(), HOST).running() as running:
        yield running


@pytest.mark.parametrize("source", Source, ids=lambda source: source.value)
async def test_a_name_server_may_fail_once(
    source: Source, weather: Weather, looked_up: Callable[..., None], tmp_path: Path
) -> None:
    looked_up(1)
    await check(weather, tmp_path, [(source, Step.BYTES, NONE)])


@pytest.mark.parametrize(
    ("error", "words"), [(socket.EAI_AGAIN, "no name server answers"), (socket.EAI_NONAME, "the host name is unknown")]
)
async def test_a_name_that_cannot_be_looked_up_is_the_reason(
    error: int, words: str, weather: Weather, looked_up: Callable[..., None], tmp_path: Path
) -> None:
    looked_up(ALWAYS, error)
    await check(weather, tmp_path, told(words), happens=False)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """The file of a certificate that nobody trusts, with its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl, which makes certificates, is not installed")
    file = tmp_path / "both.pem"
    new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=weather", "-addext", f"subjectAltName=DNS:{HOST},DNS:localhost"]
    subprocess.run(
        [openssl, *new, *names, "-keyout", file, "-out", tmp_path / "c.pem"], check=True, capture_output=True
    )
    file.write_bytes(file.read_bytes() + (tmp_path / "c.pem").read_bytes())
    return file


@pytest.fixture
def secured(tiny: Path, certificate: Path, looked_up: Callable[..., None]) -> Iterator[Weather]:
    looked_up()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Weather(tiny.read_bytes(), HOST, context).running() as running:
        yield running


async def test_an_untrusted_certificate_is_the_reason(secured: Weather, tmp_path: Path) -> None:
    await check(secured, tmp_path, told("its certificate is not trusted .*set SSL_CERT_FILE"), happens=False)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
async def test_a_certificate_that_the_user_trusts_is_trusted(
    variable: str, secured: Weather, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(certificate))
    await check(secured, tmp_path, LAST)


async def test_a_proxy_that_asks_for_a_login_is_the_reason(
    weather: Weather, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{weather.port}")  # it answers as a proxy does, too
    steps = [(source, step) for source in Source for step in (Step.LISTING, Step.BYTES)]
    await check(weather, tmp_path, [(*pair, PROXY_LOGIN) for pair in steps])


@asynccontextmanager
async def proxy(*answers: str) -> AsyncIterator[int]:
    """The port of a proxy that refuses its first connections so, and makes tunnels to this machine of the others."""
    left = list(answers)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(2**16):
            writer.write(piece)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if left:
            writer.write(f"HTTP/1.1 {left.pop(0)}\r\nContent-Length: 0\r\n\r\n".encode())
            writer.close()
            return
        port = int(head.split()[1].rpartition(b":")[2])
        remote, to_remote = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(pump(reader, to_remote))
                group.create_task(pump(remote, writer))
        except* OSError:
            pass  # who is there left
        finally:
            writer.close()
            to_remote.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.parametrize("source", Source, ids=lambda source: source.value)
async def test_a_proxy_may_fail_once(
    source: Source, secured: Weather, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with proxy("502 Bad Gateway") as port:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        await check(secured, tmp_path, [(source, Step.BYTES, NONE)])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("407 Proxy Authentication Required", r"https_proxy .*asks for a login \(HTTP 407\)"),
        ("403 Forbidden", "https_proxy .*403"),
    ],
)
async def test_a_proxy_that_makes_no_tunnels_is_the_reason(
    answer: str, words: str, secured: Weather, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with proxy(*[answer] * 1000) as port:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        await check(secured, tmp_path, told(words), happens=False)
