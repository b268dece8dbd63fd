"""Every route of the daemon, for every kind of caller, over every transport.

The routes are those of the application: a new one is tried without a word here. Their table in docs/security.md is
written by `OPREL_UPDATE_SNAPSHOTS=1 .venv/bin/pytest tests/security/test_access.py`.
"""

import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fastapi.routing import APIRoute

from oprel.core.config import Config
from oprel.core.home import prepare_home
from oprel.core.state.keys import KeyStore, new_key
from oprel.server.access.caller import AccessLevel
from tests.conftest import NOWHERE, RunningDaemon, running_daemon, temporary_home
from tests.fixtures.access import PIPE, REFUSED, Place, RouteRequest, all_routes, as_user, requests_of, statuses, table
from tests.fixtures.pair_pipes import FOLDER, PairPipes

UPDATE = "OPREL_UPDATE_SNAPSHOTS" in os.environ  # when this was imported: tests clear such variables
PAGE = Path(__file__).parents[2] / "docs" / "security.md"
BEGIN, END = "<!-- the table of tests/security/test_access.py -->\n", "<!-- its end -->\n"
OTHER_USER = 65534
WAYS = ("TCP", "TLS", "Unix socket", "pipe")
KEYS = {
    "inference": new_key("asks", "inference", created=0),
    "admin": new_key("all", "admin", created=0),
    "expired": new_key("old", "admin", created=0, expires=1),
}


def with_key(name: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {KEYS[name][1]}"}


@dataclass(frozen=True)
class CallerCase:
    """A caller, and what it may use."""

    name: str
    access: AccessLevel
    headers: Mapping[str, str]
    is_other_user: bool = False


CASES = [
    CallerCase("the own user", AccessLevel.ADMIN, {}),
    CallerCase("the own user with a placeholder for a key", AccessLevel.ADMIN, {"Authorization": "Bearer ollama"}),
    CallerCase("a page in its browser", AccessLevel.MODELS, {"Origin": "http://localhost:3000"}),
    CallerCase("an image in such a page", AccessLevel.MODELS, {"Sec-Fetch-Site": "cross-site"}),
    CallerCase("a client of its proxy", AccessLevel.ANYONE, {"X-Forwarded-For": "127.0.0.1"}),
    CallerCase("another user", AccessLevel.ANYONE, {}, True),
    CallerCase("another user with a wrong key", AccessLevel.ANYONE, {"Authorization": "Bearer wrong"}, True),
    CallerCase("another user with an expired key", AccessLevel.ANYONE, with_key("expired"), True),
    CallerCase("another user with an inference key", AccessLevel.INFERENCE, with_key("inference"), True),
    CallerCase("another user with an admin key", AccessLevel.ADMIN, with_key("admin"), True),
    CallerCase("the own user with an inference key", AccessLevel.INFERENCE, with_key("inference")),
    CallerCase("a client of a proxy with an admin key", AccessLevel.ADMIN, {**with_key("admin"), "Via": "1.1 x"}, True),
    CallerCase("another user's page", AccessLevel.ANYONE, {"Origin": "http://localhost:3000"}, True),
    CallerCase("a client of another user's proxy", AccessLevel.ANYONE, {"Forwarded": "for=127.0.0.1"}, True),
]


@pytest.fixture(scope="module")
def routes() -> list[APIRoute]:
    with temporary_home() as home:
        return all_routes(home)


@pytest.fixture(scope="module")
def requests(routes: list[APIRoute]) -> list[RouteRequest]:
    return requests_of(routes)


@pytest.fixture(scope="module")
def ways() -> Iterator[Mapping[str, Place]]:
    """The places where one daemon, and another with a certificate, listen."""
    with opened() as plain, opened(tls_self_signed="on") as secure:
        home = plain.config.home_dir
        (home / PIPE).chmod(0o666)
        trust = ssl.create_default_context(cafile=secure.config.own_certificate)
        trust.check_hostname = False
        yield {
            "TCP": Place(port=urlsplit(plain.url).port or 0),
            "TLS": Place(port=urlsplit(secure.url).port or 0, trust=trust),
            "Unix socket": Place(path=str(plain.config.socket_path)),
            "pipe": Place(pipes=PairPipes(home)),
        }


@contextmanager
def opened(**settings: str) -> Iterator[RunningDaemon]:
    """A daemon with the keys of KEYS, as if its user let others in: the kernel still says who they are."""
    with temporary_home() as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER, str(home))
        config = Config(home=str(home), server_port=0, offline="on", hf_endpoint=NOWHERE, ollama_registry=NOWHERE)
        prepare_home(config)
        with closing(KeyStore.at(config.home_dir / "state.db")) as store:
            for key, _ in KEYS.values():
                store.add(key)
        with running_daemon(config.replace(listen=f"pipe:{PIPE}", **settings)) as daemon:
            for folder in (home, config.run_dir):
                folder.chmod(0o711)
            config.socket_path.chmod(0o666)
            yield daemon


Outcomes = Mapping[tuple[str, str], Sequence[int]]


@pytest.fixture(scope="module")
def outcomes(ways: Mapping[str, Place], requests: list[RouteRequest]) -> Outcomes:
    """The statuses of all requests by each caller, over each transport."""
    own = [case for case in CASES if not case.is_other_user]
    others = [case for case in CASES if case.is_other_user] if os.getuid() == 0 else []
    results = {(case.name, way): statuses(ways[way], requests, case.headers) for case in own for way in WAYS}
    work = [(case, way) for case in others for way in WAYS]
    done = as_user(OTHER_USER, [(ways[way], case.headers) for case, way in work], requests) if work else []
    return results | {(case.name, way): each for (case, way), each in zip(work, done, strict=True)}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_route_is_for_those_whom_the_table_names(
    outcomes: Outcomes, requests: list[RouteRequest], case: CallerCase, way: str
) -> None:
    if case.is_other_user and os.getuid() != 0:
        pytest.skip("only root can become another user")
    assert len(requests) > 60
    for request, status in zip(requests, outcomes[case.name, way], strict=True):
        where = f"{request.method} {request.path} for {case.name}: {status}"
        assert (status in REFUSED) is (request.needed > case.access), where
        assert status != 500, where


def test_the_table_is_that_of_the_routes(routes: list[APIRoute]) -> None:
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    written, end, after = rest.partition(END)
    assert end, f"{PAGE} has no {BEGIN.strip()}"
    if UPDATE:
        PAGE.write_text(f"{before}{BEGIN}{table(routes)}{END}{after}")
    else:
        assert written == table(routes)
