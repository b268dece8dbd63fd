"""The checks that a working engine passes, as a table."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from oprel.core.names import GUIDE
from oprel.selftest.dialects import NATIVE
from oprel.selftest.sandbox import Sandbox, expect


@dataclass(frozen=True)
class CheckResult:
    """What happened, in words, and the seconds until recovery, if the check caused a fault."""

    text: str
    recovery: float | None = None


@dataclass(frozen=True)
class Check:
    """`run` raises Unmet, or what the client raises, when the check fails. `all_need_it`: then no other can pass."""

    name: str
    run: Callable[[Sandbox], CheckResult]
    all_need_it: bool = False


def answers(sandbox: Sandbox) -> CheckResult:
    sandbox.serve()
    answer = sandbox.stream(NATIVE, GUIDE)
    expect(answer.complete and answer.text, "a complete answer")
    engine = sandbox.engine(f"{GUIDE}:latest")
    if wanted := os.path.expanduser(sandbox.config.engine_path):
        reasons = {rejected.engine: rejected.reason for rejected in sandbox.client.health().engines_set_aside}
        why = reasons.get(wanted, "another one answered")
        expect(engine.engine == wanted, f"an answer of the engine that is tested, but {why}")
    return CheckResult(f"{engine.engine}, loaded in {engine.load_seconds or 0:.2f} s")


def makes_sense(sandbox: Sandbox) -> CheckResult:
    sandbox.serve()
    messages = [{"role": "user", "content": "How do I list my models?"}]
    answer = sandbox.client.chat(GUIDE, messages, options={"temperature": 0}, think=False).message.content or ""
    expect("oprel list" in answer, f"an answer that names `oprel list`, not {answer!r}")
    return CheckResult(answer)


def comes_back(sandbox: Sandbox) -> CheckResult:
    sandbox.serve()
    before = sandbox.stream(NATIVE, GUIDE)
    sandbox.client.unload(GUIDE)
    expect(not sandbox.client.engines().models, "no engine after the model was unloaded")
    after = sandbox.stream(NATIVE, GUIDE)
    expect(
        after.complete and after.text == before.text, f"the same answer as before, {before.text!r}, not {after.text!r}"
    )
    return CheckResult("unloaded and loaded again, it gives the same answer")


CHECKS = (
    Check("the engine answers", answers, all_need_it=True),
    Check("the answer makes sense", makes_sense),
    Check("a model is unloaded and loaded again", comes_back),
)
