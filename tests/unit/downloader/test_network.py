"""By which proxy a request goes, whom it trusts, and which address of a host it reaches."""

import socket
from collections.abc import Callable

import httpcore
import httpx
import pytest

from oprel.core.exceptions import DownloadError
from oprel.downloader.network.clients import EachAddress, open_blocking_client, open_client
from oprel.downloader.network.failures import reason
from oprel.downloader.network.proxies import proxy_rules

PROXY = {"ALL_PROXY": "http://proxy:3128"}


@pytest.mark.parametrize(
    ("no_proxy", "url", "is_direct"),
    [
        ("example.org", "https://example.org/x", True),
        ("example.org", "https://cdn.example.org/x", True),
        (".example.org", "https://cdn.example.org/x", True),
        ("*.example.org", "https://cdn.example.org/x", True),
        ("example.org", "https://an-example.org/x", False),
        ("EXAMPLE.org", "https://Example.ORG/x", True),
        ("example.org:8080", "http://example.org:8080/x", True),
        ("example.org:8080", "http://example.org/x", False),
        ("*", "https://anything/x", True),
        ("localhost, 127.0.0.1 ,[::1]", "http://[::1]:11/x", True),
        ("::1", "http://[::1]:11/x", True),
        ("[::1]:11", "http://[::1]:11/x", True),
        ("[::1]:12", "http://[::1]:11/x", False),
        ("10.0.0.0/8 fe80::/10", "http://10.9.8.7/x", True),
        ("10.0.0.0/8 fe80::/10", "http://[fe80::5]/x", True),
        ("10.0.0.0/8", "http://11.0.0.1/x", False),
        ("10.0.0.0/8", "http://ten.example/x", False),
        ("10.0.0.1/99,[,:,,", "http://10.0.0.1/x", False),
        ("", "http://10.0.0.1/x", False),
    ],
)
def test_no_proxy_is_read_as_curl_reads_it(no_proxy: str, url: str, is_direct: bool):
    rules = proxy_rules({**PROXY, "NO_PROXY": no_proxy})
    assert (rules.proxy_for(httpx.URL(url)) is None) is is_direct


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"HTTPS_PROXY": "http://b:1", **PROXY}, "http://b:1"),
        ({"HTTP_PROXY": "http://b:1"}, None),
        ({"https_proxy": "http://lower:1", "HTTPS_PROXY": "http://upper:1"}, "http://lower:1"),
        ({"all_proxy": "socks://desk:1080/"}, "socks5://desk:1080/"),
        ({"all_proxy": "SOCKS5H://desk:1080"}, "socks5h://desk:1080"),
        ({"https_proxy": "host:3128"}, "http://host:3128"),
        ({"https_proxy": " "}, None),
    ],
)
def test_a_proxy_is_chosen_by_the_scheme(environ: dict[str, str], expected: str | None):
    proxy = proxy_rules(environ).proxy_for(httpx.URL("https://example.org/x"))
    assert (proxy and proxy.url) == expected


@pytest.mark.parametrize("address", ["ftp://a:1", "http://", "http://[::1", "socks4://a:1"])
def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(address: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", address)
    with open_blocking_client({}, 5) as client, pytest.raises(DownloadError, match="HTTP_PROXY is"):
        client.get("http://example.invalid/")


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_proxy_that_does_not_answer_is_named_by_its_variable(scheme: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://me:secret@127.0.0.1:{closed_port()}")
    async with open_client() as client:
        with pytest.raises(httpx.ProxyError, match="the proxy of ALL_PROXY") as caught:
            await client.get("http://example.invalid/")
    assert "secret" not in reason(caught.value)


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have every host name stand for these addresses."""

    def resolve(*addresses: str) -> None:
        infos = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]
        real = socket.getaddrinfo

        def getaddrinfo(host: str, *rest: object, **named: object) -> object:
            return infos if host == "many.example" else real(host, *rest, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return resolve


def test_the_next_address_is_tried_where_one_does_not_answer(resolved: Callable[..., None]):
    resolved("127.0.0.2", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        stream = EachAddress().connect_tcp("many.example", server.getsockname()[1], 5)
        assert stream.get_extra_info("server_addr")[0] == "127.0.0.1"
        stream.close()
    with pytest.raises(httpcore.ConnectError):
        EachAddress().connect_tcp("many.example", closed_port(), 5)


def test_an_untrusted_certificate_is_told_with_what_to_set():
    error = httpx.ConnectError(
        "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate (_ssl.c:1006)"
    )
    assert reason(error).startswith("its certificate is not trusted (self-signed certificate). If")
    assert "SSL_CERT_FILE" in reason(error)
