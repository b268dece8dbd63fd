"""How failures of checks are reported: in plain words, and one cause once."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from oprel.core.config import Config
from oprel.core.exceptions import BackendStartError
from oprel.selftest.checks import Check, CheckResult
from oprel.selftest.running import Outcome, outcomes
from oprel.selftest.sandbox import NoDaemon, Sandbox, Unmet

Run = Callable[[Sandbox], CheckResult]


def failing(error: Exception) -> Run:
    def run(sandbox: Sandbox) -> CheckResult:
        raise error

    return run


def passes(sandbox: Sandbox) -> CheckResult:
    return CheckResult("all is well", 0.5)


def run(folder: Path, *checks: Check) -> list[Outcome]:
    return list(outcomes(checks, Config(home=str(folder / "user")), folder))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Unmet("a complete answer"), "expected a complete answer"),
        (BackendStartError("the engine did not start", "Look at its log."), "the engine did not start"),
        (httpx.ReadTimeout("timed out"), "the daemon sent nothing for 60 s"),
        (httpx.RemoteProtocolError("no more"), "the connection to the daemon broke: no more"),
    ],
)
def test_a_failure_is_told_in_plain_words_and_the_next_check_runs(tmp_path: Path, error: Exception, text: str) -> None:
    failed, passed = run(tmp_path, Check("one", failing(error)), Check("another", passes))
    assert (failed.passed, failed.text, failed.recovery_seconds) == (False, text, None)
    assert (passed.passed, passed.text, passed.recovery_seconds) == (True, "all is well", 0.5)


@pytest.mark.parametrize(
    "first",
    [Check("the engine", failing(Unmet("an engine")), all_need_it=True), Check("any", failing(NoDaemon("a daemon")))],
)
def test_what_all_others_would_share_is_told_once(tmp_path: Path, first: Check) -> None:
    assert [outcome.name for outcome in run(tmp_path, first, Check("another", passes))] == [first.name]


def test_a_daemon_that_does_not_start_is_one_cause_with_its_last_words(tmp_path: Path) -> None:
    def serves(sandbox: Sandbox) -> CheckResult:
        sandbox.serve(kv_cache_type="none such")
        raise AssertionError

    (failed,) = run(tmp_path, Check("one", serves), Check("another", passes))
    assert failed.text.startswith("expected a daemon that starts; it ended with status 2: ")
    assert "none such" in failed.text
