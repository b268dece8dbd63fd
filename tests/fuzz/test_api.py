"""No request makes an answer of 500: requests of `tests/wire` with changes, and those that schemathesis makes.

The quick tests send a few of the former. `bin/test fuzz` sends a fifth of all, and has schemathesis send about ten
thousand, one by one and in sequences that follow from each other.
"""

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import settings

from oprel.core.names import GUIDE
from tests.conftest import DEADLINE, RunningDaemon, lasting_daemon
from tests.fixtures.gguf_parts import write_reranker
from tests.fuzz.mutations import bases, mutated

THOROUGH = settings.get_current_profile_name() == "fuzz"
REQUESTS = 3000 if THOROUGH else 60
# That a model which a request names is no reranker, or that there is no such download or file, ends these.
REFUSED = {"/api/push", "/api/models/download/nonesuch/pause", "/api/models/download/nonesuch/resume"}
REFUSED |= {"/api/models/import"}
CHECKS = "no_fault,status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.fixture(scope="module")
def daemon(tiny: Path) -> Iterator[RunningDaemon]:
    with lasting_daemon(tiny) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_reranker(tmp_path_factory.mktemp("models") / "reranker.gguf", "sun"))


@pytest.fixture
def http(daemon: RunningDaemon) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=daemon.url, timeout=DEADLINE, trust_env=False) as http:
        yield http


@pytest.mark.fuzz
def test_the_requests_are_right_before_they_are_changed(http: httpx.Client, reranker: str) -> None:
    for request in bases(GUIDE, reranker):
        answer = http.request(request.method, request.path, json=request.body)
        assert answer.status_code == 200 or request.path in REFUSED, f"{request.path}: {answer.text}"


def test_no_changed_request_is_a_fault(daemon: RunningDaemon, http: httpx.Client, reranker: str) -> None:
    every = [*mutated(GUIDE, reranker)]
    statuses: Counter[int] = Counter()
    for request, content in random.Random(21).sample(every, REQUESTS):
        answer = http.request(request.method, request.path, content=content)
        statuses[answer.status_code] += 1
        assert answer.status_code != 500 and "internal_error" not in answer.text, (request.path, content, answer.text)
    assert "Traceback" not in daemon.log
    if THOROUGH:
        print(f"\n{sum(statuses.values())} of {len(every)} changed requests: {dict(sorted(statuses.items()))}")  # noqa: T201


@pytest.mark.fuzz
@pytest.mark.timeout(1200)
def test_schemathesis_finds_no_fault(daemon: RunningDaemon, http: httpx.Client, tmp_path: Path) -> None:
    assert http.get("/openapi.json").status_code == 200  # made once: schemathesis waits for 10 s only
    program = Path(sys.executable).parent / "schemathesis"
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [
            *(program, "run", f"{daemon.url}/openapi.json", "--checks", CHECKS),
            *("--max-examples", "10", "--max-time", "420", "--request-timeout", "60", "--no-shrink", "--no-color"),
        ],
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks", "PYTHONPATH": str(root), "NO_PROXY": "*"},
        cwd=tmp_path,
    )
    assert ended.returncode == 0
    assert "Traceback" not in daemon.log
