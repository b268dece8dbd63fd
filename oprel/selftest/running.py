"""Runs the checks one after the other."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx

from oprel.api_models import Wire
from oprel.core.config import Config
from oprel.core.exceptions import OprelError
from oprel.selftest.checks import Check, CheckResult
from oprel.selftest.sandbox import TIMEOUT, NoDaemon, Sandbox, Unmet


class Outcome(Wire):
    """A check's result: what happened, or what was expected. `recovery_seconds` is set if it caused a fault."""

    name: str
    passed: bool
    text: str
    seconds: float
    recovery_seconds: float | None = None


class Outcomes(Wire):
    """`not_run`: the names of checks that could not pass, because all need one that failed."""

    passed: bool
    seconds: float
    checks: list[Outcome]
    not_run: list[str] = []


def outcomes(checks: Sequence[Check], user: Config, folder: Path) -> Iterator[Outcome]:
    """Run the checks with the engine that `user` has configured, on a daemon in `folder`.

    They end with a failure that all others would share: one cause is reported once.
    """
    sandbox = Sandbox(user, folder)
    try:
        for check in checks:
            began = time.monotonic()
            result, failure = _attempt(check, sandbox)
            yield Outcome(
                name=check.name,
                passed=failure is None,
                text=result.text if result else _in_words(failure),
                seconds=time.monotonic() - began,
                recovery_seconds=result.recovery if result else None,
            )
            if failure:
                if check.all_need_it or isinstance(failure, NoDaemon):
                    return
                sandbox.discard()
    finally:
        sandbox.close()


def _attempt(check: Check, sandbox: Sandbox) -> tuple[CheckResult | None, Exception | None]:
    """The result, or why the check failed."""
    try:
        return check.run(sandbox), None
    except (Unmet, OprelError, httpx.HTTPError, OSError) as failure:
        return None, failure


def _in_words(failure: Exception | None) -> str:
    match failure:
        case Unmet():
            return f"expected {failure}"
        case OprelError():
            return failure.message
        case httpx.TimeoutException():
            return f"the daemon sent nothing for {TIMEOUT:.0f} s"
        case httpx.HTTPError():
            return f"the connection to the daemon broke: {failure}"
    return str(failure)
