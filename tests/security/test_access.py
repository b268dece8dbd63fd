"""Every route of the daemon, for every kind of caller, over every transport.

The routes are those of the application: a new one is tried without a word here. Their table in docs/security.md is
written by `OPREL_UPDATE_SNAPSHOTS=1 .venv/bin/pytest tests/security/test_access.py`.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fastapi.routing import APIRoute

from oprel.core.config import Config
from oprel.server.access.caller import AccessLevel
from tests.conftest import NOWHERE, RunningDaemon, running_daemon, temporary_home
from tests.fixtures.access import REFUSED, Place, RouteRequest, all_routes, as_user, requests_of, statuses, table

UPDATE = "OPREL_UPDATE_SNAPSHOTS" in os.environ  # when this was imported: tests clear such variables
PAGE = Path(__file__).parents[2] / "docs" / "security.md"
BEGIN, END = "<!-- the table of tests/security/test_access.py -->\n", "<!-- its end -->\n"
OTHER_USER = 65534
BOTH = ("tcp", "unix")


@dataclass(frozen=True)
class CallerCase:
    """A caller without a valid key, and what it may use."""

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
def daemon() -> Iterator[RunningDaemon]:
    with temporary_home() as home:
        config = Config(home=str(home), server_port=0, offline="on", hf_endpoint=NOWHERE, ollama_registry=NOWHERE)
        with running_daemon(config) as daemon:
            for folder in (home, config.run_dir):  # as if its user let others in: the kernel still says who they are
                folder.chmod(0o711)
            config.socket_path.chmod(0o666)
            yield daemon


Outcomes = Mapping[tuple[str, str], Sequence[int]]


@pytest.fixture(scope="module")
def outcomes(daemon: RunningDaemon, requests: list[RouteRequest]) -> Outcomes:
    """The statuses of all requests by each caller, over each transport."""
    ways = {"tcp": Place(port=urlsplit(daemon.url).port or 0), "unix": Place(path=str(daemon.config.socket_path))}
    own = [case for case in CASES if not case.is_other_user]
    others = [case for case in CASES if case.is_other_user] if os.getuid() == 0 else []
    results = {(case.name, way): statuses(ways[way], requests, case.headers) for case in own for way in BOTH}
    work = [(case, way) for case in others for way in BOTH]
    done = as_user(OTHER_USER, [(ways[way], case.headers) for case, way in work], requests) if work else []
    return results | {(case.name, way): each for (case, way), each in zip(work, done, strict=True)}


@pytest.mark.parametrize("way", BOTH)
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
