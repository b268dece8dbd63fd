"""Which daemon a client talks to, and how httpx is told."""

from pathlib import Path
from typing import Any

import pytest

from oprel import AsyncClient, Client
from oprel.client.base import Address, Scheme
from oprel.client.connect import TIMEOUT, open_transport
from oprel.core.config import Config
from oprel.core.exceptions import ConfigError

OWN = Config(home="/srv/oprel")


@pytest.mark.parametrize("cls", [Client, AsyncClient])
def test_a_given_host_is_the_one(cls: type[Client] | type[AsyncClient]) -> None:
    assert cls("box", config=Config(host="other")).address == Address(Scheme.HTTP, "http://box:11435")
    assert cls(config=Config(host="other")).address == Address(Scheme.HTTP, "http://other:11435")
    assert cls(config=OWN).address == Address(Scheme.UNIX, str(OWN.socket_path), own=True)
    assert cls(config=OWN, start=False).address.own is False


def test_a_bad_configuration_is_told_at_the_first_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPREL_PARALLEL", "none")
    client = Client()
    with pytest.raises(ConfigError, match="OPREL_PARALLEL"):
        client.list()


def test_httpx_is_told_what_the_caller_said() -> None:
    with Client(
        "box", timeout=3, headers={"X-One": "1", "X-Two": None}, follow_redirects=False, params={"a": 1}
    ) as one:
        http = one._http
        assert (http.timeout.read, http.headers["x-one"], http.follow_redirects) == (3, "1", False)
        assert "x-two" not in http.headers and http.params["a"] == "1"
        assert str(http.base_url) == "http://box:11435"


def test_answers_have_no_time_limit_but_connecting_has() -> None:
    with Client("box") as client:
        assert client._http.timeout == TIMEOUT
        assert (TIMEOUT.read, TIMEOUT.connect) == (None, 10.0)


@pytest.mark.parametrize(
    ("host", "arguments", "wanted"),
    [
        ("http://box", {}, False),
        ("http://box", {"params": {}}, False),
        ("https://box", {"verify": False}, True),
        ("http://box", {"proxy": "http://proxy"}, True),
        ("unix:/run/oprel.sock", {"trust_env": True}, False),
    ],
)
def test_httpxs_own_transport_is_used_for_arguments_that_only_it_follows(
    host: str, arguments: dict[str, Any], wanted: bool
) -> None:
    assert Client(host, **arguments)._wants_httpx_transport is wanted


def test_a_transport_of_the_callers_own_goes_before_all() -> None:
    transport = open_transport(Address(Scheme.HTTP, "http://box"), Config())
    with Client("box", transport=transport) as client:
        assert client._http._transport is transport
