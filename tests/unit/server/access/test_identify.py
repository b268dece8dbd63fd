"""Who sends a request, by its connection and its headers, and what that allows."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from starlette.types import Scope

from oprel.core.configuration.addresses import parse_proxies
from oprel.core.exceptions import ConfigError
from oprel.server.access.caller import AccessLevel, Caller, CallerKind, Key, Policy, rights
from oprel.server.access.identify import identify
from oprel.server.access.peers import OWN_USER, PEER, ROOT, Peer

OTHER_USER = OWN_USER + 1 if OWN_USER else 65534
LAN, LOCAL = ("192.168.1.2", 1), ("127.0.0.1", 1)
OWN, PAGE, USER, MACHINE = CallerKind


def scope(client: tuple[str, int] | None, peer: Peer | None, **headers: str) -> Scope:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    connection: Scope = {"type": "http", "headers": raw, "client": client, "server": ("127.0.0.1", 11435)}
    return {**connection, **({PEER: peer} if peer else {})}


async def caller(
    client: tuple[str, int] | None, peer: Peer | None, *, trusted: str = "", key: Key | None = None, **headers: str
) -> Caller:
    return await identify(scope(client, peer, **headers), key, Policy(), parse_proxies(trusted))


def user(number: int | None) -> Peer:
    return Peer(None, number)


@pytest.mark.parametrize(
    ("client", "peer", "origin", "kind"),
    [
        (None, user(OWN_USER), None, OWN),
        (LOCAL, user(OWN_USER), None, OWN),
        (LAN, user(OWN_USER), None, OWN),  # over an address that others reach too
        (LOCAL, user(ROOT), None, OWN),
        (None, user(OTHER_USER), None, USER),
        (LOCAL, user(OTHER_USER), None, USER),
        (LAN, user(OTHER_USER), None, USER),
        (LOCAL, user(None), None, USER),  # somebody of this machine
        (None, user(None), None, USER),
        (LAN, user(None), None, MACHINE),
        (LOCAL, user(OWN_USER), "http://localhost:3000", PAGE),
        (LOCAL, user(OTHER_USER), "http://localhost:3000", USER),
        (LAN, user(None), "http://localhost:3000", MACHINE),
        (LOCAL, None, None, OWN),  # of this process
        (None, None, None, OWN),
        (None, None, "null", PAGE),
        (LAN, None, None, MACHINE),
    ],
)
async def test_the_kernel_says_who_connects(
    client: tuple[str, int] | None, peer: Peer | None, origin: str | None, kind: CallerKind
) -> None:
    headers = {"origin": origin} if origin else {}
    assert (await caller(client, peer, **headers)).kind is kind  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "header",
    [
        *("x_forwarded_for", "forwarded", "x_real_ip", "X_Forwarded_Host", "via", "cf_connecting_ip"),
        *("x_forwarded_user", "x_forwarded_prefix", "x_original_forwarded_for", "x_envoy_external_address", "cdn_loop"),
    ],
)
@pytest.mark.parametrize("trusted", ["", "127.0.0.1", "10.0.0.0/8"])
async def test_what_a_proxy_sends_on_is_nobodys_of_this_machine(header: str, trusted: str) -> None:
    """Also where the own user runs the proxy, and whatever it says."""
    for value in ("127.0.0.1", "for=127.0.0.1", ""):
        asked = await caller(LOCAL, user(OWN_USER), trusted=trusted, **{header: value})  # type: ignore[arg-type]
        assert (asked.kind, asked.access, asked.owner) == (MACHINE, AccessLevel.ANYONE, None)


async def test_underscores_do_not_hide_a_proxy() -> None:
    request = scope(LOCAL, user(OWN_USER))
    request["headers"].append((b"X_Forwarded_For", b"127.0.0.1"))
    assert (await identify(request, None, Policy(), parse_proxies(""))).kind is MACHINE


@pytest.mark.parametrize(
    ("trusted", "client", "forwarded", "address"),
    [
        ("127.0.0.1", LOCAL, "203.0.113.7", "203.0.113.7"),
        ("127.0.0.1,10.0.0.0/8", LOCAL, "1.1.1.1, 203.0.113.7:4711, 10.0.0.2", "203.0.113.7"),
        ("127.0.0.1,10.0.0.0/8", LOCAL, "10.0.0.3,10.0.0.2", "10.0.0.3"),
        ("127.0.0.0/8,10.0.0.0/8", ("::ffff:127.0.0.1", 1), "[2001:db8::1]:80, 10.0.0.2", "2001:db8::1"),
        ("127.0.0.1", LOCAL, "unknown", ""),
        ("127.0.0.1,10.0.0.0/8", LOCAL, "1.1.1.1, evil, 10.0.0.2", ""),
        ("unix", None, "203.0.113.7", "203.0.113.7"),
        ("", LOCAL, "203.0.113.7", "127.0.0.1"),
        ("127.0.0.1", None, "203.0.113.7", ""),
        ("unix", LAN, "203.0.113.7", "192.168.1.2"),
    ],
)
async def test_the_client_is_the_last_that_is_no_proxy_of_ours(
    trusted: str, client: tuple[str, int] | None, forwarded: str, address: str
) -> None:
    assert (await caller(client, user(OTHER_USER), trusted=trusted, x_forwarded_for=forwarded)).address == address


async def test_a_trusted_proxy_says_how_its_client_came() -> None:
    headers = {"x_forwarded_for": "203.0.113.7", "x_forwarded_proto": "http, https"}
    for trusted, expected in (("127.0.0.1", ("203.0.113.7", "https")), ("", ("127.0.0.1", "http"))):
        asked = {**scope(LOCAL, user(OTHER_USER), **headers), "scheme": "http"}
        await identify(asked, None, Policy(), parse_proxies(trusted))
        assert (asked["client"][0], asked["scheme"]) == expected


@pytest.mark.parametrize(
    ("header", "address"),
    [
        ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
        ('For="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17"),
        ('for=1.1.1.1, for="unknown,;", proto=https;for=192.0.2.43', "192.0.2.43"),
        ("for=_hidden", ""),
        ("by=127.0.0.1", ""),
    ],
)
async def test_the_standard_header_is_read_too(header: str, address: str) -> None:
    assert (await caller(LOCAL, user(None), trusted="127.0.0.1", forwarded=header)).address == address


@pytest.mark.parametrize("text", ["nginx", "10.0.0.0/33", "10.0.0.1/8", "127.0.0.1;10.0.0.1"])
def test_proxies_that_are_no_addresses_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="trusted_proxies"):
        parse_proxies(text)


@pytest.mark.parametrize("site", ["cross-site", "same-site", "same-origin"])
async def test_a_page_that_hides_its_origin_is_a_page(site: str) -> None:
    """As an image in any page: browsers send no Origin for it."""
    asked = await caller(LOCAL, user(OWN_USER), sec_fetch_site=site)
    assert (asked.kind, asked.owner) == (PAGE, None)
    assert (await caller(LOCAL, user(OWN_USER), sec_fetch_site="none")).kind is OWN  # an address that was typed


KEY = Key("team", AccessLevel.INFERENCE)


async def test_a_key_is_who_one_is() -> None:
    for client, peer in ((LOCAL, user(OWN_USER)), (LAN, user(None)), (None, user(OTHER_USER))):
        asked = await caller(client, peer, key=KEY, origin="http://localhost")
        assert (asked.access, asked.owner) == (AccessLevel.INFERENCE, "key:team")
    assert (await caller(LAN, user(None), key=Key("boss", AccessLevel.ADMIN))).owner == ""


async def test_conversations_belong_to_who_can_be_told_apart() -> None:
    page = "http://localhost:3000"
    assert (await caller(LOCAL, user(OWN_USER))).owner == ""
    assert (await caller(LOCAL, user(OTHER_USER))).owner == f"user:{OTHER_USER}"
    assert (await caller(LOCAL, user(OTHER_USER), origin=page)).owner == f"user:{OTHER_USER}"
    assert (await caller(LOCAL, user(OWN_USER), origin=page)).owner == f"page:{page}"
    for nobody in ((await caller(LAN, user(None))), (await caller(LOCAL, user(None)))):
        assert nobody.owner is None
    for origin in ("null", "file://"):  # many pages have these
        assert (await caller(LOCAL, user(OWN_USER), origin=origin)).owner is None


def test_what_others_may_do_is_set() -> None:
    shared = Policy(share_with_local_users=True), Policy(allow_unauthenticated_lan=True), Policy()
    assert [rights(USER, None, policy) for policy in shared] == [AccessLevel.INFERENCE, 0, 0]
    assert [rights(MACHINE, None, policy) for policy in shared] == [0, AccessLevel.INFERENCE, 0]
    assert {rights(OWN, None, policy) for policy in shared} == {AccessLevel.ADMIN}


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


async def test_the_ends_of_unix_sockets_and_connections_have_a_user(opened: ExitStack) -> None:
    one, other = socket.socketpair()
    opened.enter_context(one)
    opened.enter_context(other)
    assert await Peer(one).user() == OWN_USER
    assert await Peer(None).user() is None
    other.close()
    one.close()
    assert await Peer(one).user() is None
