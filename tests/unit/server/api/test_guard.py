"""Who may call, by Host and Origin."""

import socket
from collections.abc import Sequence

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from oprel.core.config import Config
from oprel.core.configuration.addresses import is_loopback
from oprel.server.api.common.ignored import IGNORED
from oprel.server.api.common.streaming import MISSING_PROMPT, TRUNCATED, UNPARSED
from oprel.server.api.guard import Guard

PEER = ("127.0.0.1", 50_000)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("hello", headers={"X-App": "1"})(scope, receive, send)


async def ask(
    config: Config | None = None,
    *,
    peer: tuple[str, int] | None = PEER,
    at: str = "127.0.0.1",
    method: str = "GET",
    several: Sequence[tuple[str, str]] = (),
    **headers: str,
) -> httpx.Response:
    """What a caller gets with these headers who connected to the address `at`; `peer` is None on the Unix socket."""
    guard = Guard(app, config or Config())

    async def connected(scope: Scope, receive: Receive, send: Send) -> None:
        await guard({**scope, "server": (at, 11435)}, receive, send)

    transport = httpx.ASGITransport(connected, client=peer)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:11435") as http:
        return await http.request(method, "/api/chat", headers=[*headers.items(), *several])


MACHINE = socket.gethostname()
OWN = ["localhost", "LOCALHOST:11435", "localhost.:1", "127.0.0.1", "127.8.8.8:1", "[::1]:11435", "0.0.0.0", "10.0.0.2"]
OWN += ["192.168.1.2:80", "100.64.0.9", "[fe80::1]", "x.localhost:1", "host.docker.internal:11435"]
NAMES = [pytest.param(name, id=what) for name, what in ((MACHINE, "name"), (f"{MACHINE}.local:1", "multicast DNS"))]


@pytest.mark.parametrize("at", ["127.0.0.1", "192.0.2.2"])
@pytest.mark.parametrize("host", [*OWN, *NAMES])
async def test_what_can_only_mean_this_machine_is_served(host: str, at: str) -> None:
    assert (await ask(host=host, at=at)).text == "hello"


STRANGE = [
    "evil.example",
    "evil.example:11435",
    "localhost.evil.example",
    "notlocalhost",
    "127.0.0.1.nip.io",
    "evil.local",
    "metadata.google.internal",
    "box.internal",
    "host.docker.internal.evil.example",
]


@pytest.mark.parametrize("at", ["127.0.0.1", "192.0.2.2", "::1"])
@pytest.mark.parametrize("host", STRANGE)
async def test_a_strangers_host_is_refused_without_a_word(host: str, at: str) -> None:
    response = await ask(Config(server_host="0.0.0.0"), host=host, at=at)
    assert (response.status_code, response.content) == (403, b"")


SEVERAL = [("host", "localhost", "evil.example"), ("origin", "http://localhost:3000", "https://evil.example")]


@pytest.mark.parametrize(("name", "own", "strange"), SEVERAL)
async def test_each_of_several_hosts_and_origins_has_to_be_ours(name: str, own: str, strange: str) -> None:
    """Another program on the way may go by another of them."""
    for values in ((own, strange), (strange, own)):
        assert (await ask(several=[(name, value) for value in values])).status_code == 403, values
    assert (await ask(several=[(name, own), (name, own)])).text == "hello"


async def test_an_address_of_the_internet_is_ours_where_we_listen_for_others() -> None:
    assert (await ask(host="8.8.8.8:11435", at="10.0.0.2")).status_code == 200
    assert (await ask(host="8.8.8.8:11435")).status_code == 403


async def test_hosts_that_are_allowed_or_listened_on_are_ours() -> None:
    config = Config(allowed_hosts="ai.example, *.Tail.ts.net,", server_host="box.lan")
    hosts = ("ai.example:443", "AI.example.", "a.tail.ts.net", "box.lan:1", "b.ai.example", "tail.ts.net")
    statuses = [(await ask(config, host=host, at="10.0.0.2")).status_code for host in hosts]
    assert statuses == [200, 200, 200, 200, 403, 403]


async def test_a_refused_host_is_named_in_the_log_once(caplog: pytest.LogCaptureFixture) -> None:
    guard = Guard(app, Config())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(guard, client=PEER), base_url="http://ai.lan") as http:
        assert [(await http.get("/")).status_code for _ in range(3)] == [403] * 3
    assert [record.getMessage() for record in caplog.records if record.name == guard.__module__] == [
        "refused a request for the host ai.lan: if that is this machine, name it in allowed_hosts"
    ]


async def test_a_password_in_a_host_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert (await ask(host="user:a-secret@localhost:11435")).status_code == 403
    assert "localhost:11435" in caplog.text and "a-secret" not in caplog.text


async def test_no_host_is_checked_where_no_web_page_comes_from() -> None:
    assert (await ask(peer=None, host="evil.example")).status_code == 200
    assert (await ask(peer=None, origin="https://evil.example")).status_code == 403


LOCAL = ["http://localhost", "https://localhost:3000", "http://127.0.0.1:8080", "http://0.0.0.0"]
LOCAL += ["app://obsidian.md", "file://", "tauri://localhost", "vscode-webview://1ab2"]


@pytest.mark.parametrize("origin", LOCAL)
async def test_a_local_origin_is_served_with_cors_headers(origin: str) -> None:
    response = await ask(origin=origin)
    assert (response.text, response.headers["x-app"]) == ("hello", "1")
    assert response.headers["access-control-allow-origin"] == origin
    assert response.headers["vary"] == "Origin"
    assert {TRUNCATED, IGNORED, UNPARSED, MISSING_PROMPT, "Retry-After"} == set(
        response.headers["access-control-expose-headers"].split(", ")
    )


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://localhost.evil.example", "http://evil.example:11435", "null", "nonsense"]
)
async def test_a_strangers_origin_is_refused(origin: str) -> None:
    response = await ask(origin=origin)
    assert (response.status_code, response.content) == (403, b"")
    assert "access-control-allow-origin" not in response.headers


async def test_a_page_may_call_the_daemon_that_served_it() -> None:
    config = Config(allowed_hosts="box")
    assert (await ask(config, host="box:11435", origin="http://box:11435")).status_code == 200
    assert (await ask(config, host="box:11435", origin="http://box:3000")).status_code == 403
    assert (await ask(host="evil.example:11435", origin="http://evil.example:11435", at="10.0.0.2")).status_code == 403


async def test_a_page_of_a_trusted_proxy_may_call_it_by_the_proxys_name() -> None:
    page = {"origin": "https://ai.example", "x-forwarded-host": "ai.example", "x-forwarded-for": "203.0.113.7"}
    headers = [*page.items()]
    trusting = Config(allowed_hosts="ai.example", trusted_proxies="127.0.0.1")
    configs = (trusting, Config(allowed_hosts="ai.example"), Config(trusted_proxies="127.0.0.1"))
    assert [(await ask(config, peer=PEER, several=headers)).status_code for config in configs] == [200, 403, 403]


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://chat.example", 200),
        ("http://chat.example", 403),
        ("https://chat.example:444", 403),
        ("https://a.trusted.example", 200),
        ("https://trusted.example", 403),
        ("http://localhost:3000", 200),
    ],
)
async def test_configured_origins_may_call_too(origin: str, status: int) -> None:
    config = Config(origins="https://chat.example, https://*.trusted.example,")
    assert (await ask(config, origin=origin)).status_code == status


async def test_a_preflight_is_answered_before_the_app() -> None:
    response = await ask(method="OPTIONS", origin="http://localhost:3000")
    assert (response.status_code, response.content) == (204, b"")
    assert "x-app" not in response.headers
    assert "POST" in response.headers["access-control-allow-methods"]
    assert "Content-Type" in response.headers["access-control-allow-headers"]
    assert (await ask(method="OPTIONS", origin="https://evil.example")).status_code == 403


async def test_without_an_origin_there_are_no_cors_headers() -> None:
    for method in ("GET", "OPTIONS"):
        response = await ask(method=method)
        assert response.headers["x-app"] == "1"
        assert "access-control-allow-origin" not in response.headers


async def test_what_is_no_request_passes() -> None:
    seen: list[str] = []

    async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def nothing() -> Message:
        raise AssertionError("nobody receives")

    async def nowhere(message: Message) -> None:
        raise AssertionError("nobody sends")

    await Guard(lifespan, Config())({"type": "lifespan"}, nothing, nowhere)
    assert seen == ["lifespan"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_loopback_is_told_from(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "box", ""])
def test_addresses_that_others_reach(host: str) -> None:
    assert not is_loopback(host)
