"""What must hold of an engine that works, as a table."""

from collections.abc import Callable
from dataclasses import dataclass

from oprel.core.names import GUIDE
from oprel.selftest.dialects import NATIVE
from oprel.selftest.sandbox import Sandbox, expect


@dataclass(frozen=True)
class CheckResult:
    """What happened, in words; and how many seconds it took to recover, where something was broken."""

    text: str
    recovery: float | None = None


@dataclass(frozen=True)
class Check:
    """`run` raises Unmet, or what the client raises, when something is not as it must be."""

    name: str
    run: Callable[[Sandbox], CheckResult]


def answers(stage: Sandbox) -> CheckResult:
    stage.serve()
    heard = stage.hear(NATIVE, GUIDE)
    expect(heard.whole and heard.text, "a whole answer")
    engine = stage.engine(f"{GUIDE}:latest")
    return CheckResult(f"{engine.engine}, loaded in {engine.load_seconds or 0:.2f} s")


def makes_sense(stage: Sandbox) -> CheckResult:
    stage.serve()
    question = [{"role": "user", "content": "How do I list my models?"}]
    answer = stage.client.chat(GUIDE, question, options={"temperature": 0}, think=False).message.content or ""
    expect("oprel list" in answer, f"an answer that names `oprel list`, not {answer!r}")
    return CheckResult(answer)


def comes_back(stage: Sandbox) -> CheckResult:
    stage.serve()
    before = stage.hear(NATIVE, GUIDE)
    stage.client.unload(GUIDE)
    expect(not stage.client.engines().models, "no engine after the model was unloaded")
    after = stage.hear(NATIVE, GUIDE)
    expect(after.whole and after.text == before.text, f"the same answer as before, {before.text!r}, not {after.text!r}")
    return CheckResult("unloaded, loaded again, and the same answer")


CHECKS = (
    Check("the engine answers", answers),
    Check("the answer makes sense", makes_sense),
    Check("a model goes and comes back", comes_back),
)
