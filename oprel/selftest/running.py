"""Runs the checks one after the other."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx

from oprel.api_models import Wire
from oprel.core.config import Config
from oprel.core.exceptions import OprelError
from oprel.selftest.checks import Check
from oprel.selftest.sandbox import Sandbox, Unmet


class Outcome(Wire):
    """A check's result: what happened, or what was expected. `recovery_seconds` is set if it caused a fault."""

    name: str
    passed: bool
    text: str
    seconds: float
    recovery_seconds: float | None = None


class Outcomes(Wire):
    passed: bool
    seconds: float
    checks: list[Outcome]


def outcomes(checks: Sequence[Check], user: Config, folder: Path) -> Iterator[Outcome]:
    """Run the checks with the engine that `user` has configured, on a daemon in `folder`."""
    sandbox = Sandbox(user, folder)
    try:
        for check in checks:
            yield _outcome(check, sandbox)
    finally:
        sandbox.close()


def _outcome(check: Check, sandbox: Sandbox) -> Outcome:
    began = time.monotonic()
    try:
        result = check.run(sandbox)
        passed, text, recovery = True, result.text, result.recovery
    except Unmet as unmet:
        passed, text, recovery = False, f"expected {unmet}", None
    except (OprelError, httpx.HTTPError, OSError) as error:
        passed, text, recovery = False, f"{type(error).__name__}: {error}", None
    return Outcome(
        name=check.name, passed=passed, text=text, seconds=time.monotonic() - began, recovery_seconds=recovery
    )
