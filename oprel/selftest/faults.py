"""Faults that engines, models, clients and daemons have, and what must come of each; as a table."""

import json
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx

from oprel.client.connect import is_up
from oprel.core.exceptions import OprelError
from oprel.selftest.checks import Check, CheckResult
from oprel.selftest.dialects import ANTHROPIC, NATIVE, OPENAI, TestedDialect
from oprel.selftest.sandbox import LOOK_INTERVAL, SLOTS, Heard, Sandbox, Unmet, expect, runs, wait_until

ATTEMPTS = 30  # to hit an engine within one of guide's short answers, or while it loads
STALL = "2s"
QUEUE = 3
UNAVAILABLE = httpx.codes.SERVICE_UNAVAILABLE


def answer_survives(
    number: signal.Signals, dialect: TestedDialect, stage: Sandbox, **settings: str | int
) -> CheckResult:
    """The engine gets a signal in mid-answer."""
    stage.serve(**settings)
    for _ in range(ATTEMPTS):
        model = stage.model()
        calm = stage.hear(dialect, model)
        heard = stage.hear(dialect, model, partial(stage.signal, model, number))
        expect(heard.whole, f"a whole answer, not one that ends after {heard.text!r}")
        expect(heard.text == calm.text, f"the undisturbed answer, {calm.text!r}, not {heard.text!r}")
        hit = stage.engine(model).restarts > 0
        if not hit:
            stage.signal(model, signal.SIGCONT)  # for one that was to stand still
        stage.client.unload(model)
        if hit:
            return CheckResult("the answer went on as if nothing had happened", heard.pause)
    raise Unmet("an engine that is still answering when its first word has come")


def killed_while_idle(stage: Sandbox) -> CheckResult:
    stage.serve()
    model = stage.model()
    calm = stage.hear(NATIVE, model)
    stage.signal(model, signal.SIGKILL)
    began = time.monotonic()
    heard = stage.hear(NATIVE, model)
    expect(heard.whole and heard.text == calm.text, f"the same answer as before, not {heard.text!r}")
    stage.client.unload(model)
    return CheckResult("the next request was answered by another engine", time.monotonic() - began)


def killed_while_loading(stage: Sandbox) -> CheckResult:
    stage.serve()
    for _ in range(ATTEMPTS):
        model = stage.model()
        with ThreadPoolExecutor() as pool:
            asked = pool.submit(stage.hear, NATIVE, model)
            if not _kill_starting(stage, model, asked):
                asked.result()
                stage.client.unload(model)
                continue
            began = time.monotonic()
            expect(asked.result().whole, "a whole answer")
        stage.client.unload(model)
        return CheckResult("the request was answered by another engine", time.monotonic() - began)
    raise Unmet("an engine that can be seen loading")


def _kill_starting(stage: Sandbox, model: str, asked: Future[Heard]) -> bool:
    """Kill the engine that was asked for while it loads; False when it was ready before it was seen."""
    while not asked.done():
        for engine in stage.client.engines().models:
            if engine.name == model and engine.state == "ready":
                return False
            if engine.name == model and engine.pid:
                stage.signal(model, signal.SIGKILL)
                return True
        time.sleep(LOOK_INTERVAL)
    return False


def damaged_model(stage: Sandbox) -> CheckResult:
    stage.serve()
    path = Path(stage.model())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    try:
        stage.client.generate(str(path), "hello")
    except OprelError as error:
        expect(stage.client.health().status == "ok", "a daemon that goes on")
        return CheckResult(error.message.splitlines()[0])
    raise Unmet("an error")


def client_leaves(stage: Sandbox) -> CheckResult:
    stage.serve()
    model = stage.model()
    stage.hear(NATIVE, model)
    with stage.held(model):
        body = json.dumps(NATIVE.body(model)).encode()
        with socket.create_connection((stage.http.base_url.host, stage.http.base_url.port or 0)) as client:
            head = f"POST {NATIVE.path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)
            wait_until(lambda: stage.engine(model).slots_taken == 1, "a request in the engine")
        freed = wait_until(lambda: stage.engine(model).in_flight == 0, "a free slot")
    expect(stage.hear(NATIVE, model).whole, "an answer to the next client")
    stage.client.unload(model)
    return CheckResult("its slot was free again", freed)


def more_than_slots(stage: Sandbox) -> CheckResult:
    """As many requests as may wait, and then one more."""
    stage.serve(max_queue=QUEUE)
    model = stage.model()
    calm = stage.hear(NATIVE, model)
    with ThreadPoolExecutor(SLOTS + QUEUE) as pool:
        with stage.held(model):
            asked = [pool.submit(stage.hear, NATIVE, model) for _ in range(SLOTS + QUEUE)]
            wait_until(lambda: stage.engine(model).in_flight == SLOTS + QUEUE, "all requests in the queue")
            refused = stage.http.post(NATIVE.path, json=NATIVE.body(model))
        heard = [one.result() for one in asked]
    expect(refused.status_code == UNAVAILABLE, f"503 for who finds the queue full, not {refused.status_code}")
    expect(int(refused.headers.get("retry-after", "0")) >= 1, "a Retry-After with it")
    expect(all(one.whole and one.text == calm.text for one in heard), "the same answer for all others")
    return CheckResult(f"{len(heard)} answered by {SLOTS} slots, one sent away with Retry-After")


def two_models_one_place(stage: Sandbox) -> CheckResult:
    stage.serve()
    first, second = stage.model(), stage.model()
    stage.client.load(first)
    budget = stage.engine(first).predicted_bytes * 3 // 2 // 1024**2
    stage.serve(default_max_memory_mb=budget)
    stage.client.load(first)
    before = stage.engine(first).pid or 0
    expect(stage.hear(NATIVE, second).whole, "an answer of the second model")
    expect(not runs(before), "no engine of the first model")
    with ThreadPoolExecutor(6) as pool:
        heard = list(pool.map(partial(stage.hear, NATIVE), [first, second] * 3))
    expect(all(one.whole for one in heard), "an answer for everyone")
    expect(len(stage.client.engines().models) == 1, "one engine at a time")
    return CheckResult(f"within {budget} MiB they took turns")


def daemon_killed(stage: Sandbox) -> CheckResult:
    stage.serve()
    model = stage.model()
    stage.client.load(model)
    engine = stage.engine(model).pid or 0
    stage.end(signal.SIGKILL)
    gone = wait_until(lambda: not runs(engine), "no engine without its daemon", within=3.0)
    stage.serve()
    expect(not list((stage.config.run_dir / "engines").glob("*")), "no record of an engine that is gone")
    expect(stage.hear(NATIVE, model).whole, "an answer of the next daemon")
    return CheckResult("its engine went with it, and the next daemon was clean", gone)


def daemon_asked_to_end(stage: Sandbox) -> CheckResult:
    stage.serve()
    model = stage.model()
    calm = stage.hear(NATIVE, model)
    with ThreadPoolExecutor() as pool:
        with stage.held(model):
            asked = pool.submit(stage.hear, NATIVE, model)
            wait_until(lambda: stage.engine(model).slots_taken == 1, "a request in the engine")
            stage.tell(signal.SIGTERM)
            wait_until(lambda: not is_up(stage.config), "a daemon that ends")
            late = stage.http.post(NATIVE.path, json=NATIVE.body(model))
        heard = asked.result()
    expect(late.status_code == UNAVAILABLE and "retry-after" in late.headers, "503 with Retry-After for newcomers")
    expect(heard.whole and heard.text == calm.text, f"the whole answer, not {heard.text!r}")
    expect(stage.wait() == 0, "exit status 0")
    expect(not list(stage.config.run_dir.glob("*.sock")), "no socket left")
    return CheckResult("the answer was finished, a newcomer was told to come back")


def _in_mid_answer(
    number: signal.Signals, dialect: TestedDialect, **settings: str | int
) -> Callable[[Sandbox], CheckResult]:
    return lambda stage: answer_survives(number, dialect, stage, **settings)


FAULTS = (
    *(
        Check(f"SIGKILL in mid-answer ({dialect.name})", _in_mid_answer(signal.SIGKILL, dialect))
        for dialect in (NATIVE, OPENAI, ANTHROPIC)
    ),
    Check("SIGTERM in mid-answer", _in_mid_answer(signal.SIGTERM, NATIVE)),
    Check("SIGSEGV in mid-answer", _in_mid_answer(signal.SIGSEGV, NATIVE)),
    Check("SIGKILL of an idle engine", killed_while_idle),
    Check("SIGKILL of a loading engine", killed_while_loading),
    Check("a damaged model", damaged_model),
    Check("a client that leaves", client_leaves),
    Check("more requests than slots", more_than_slots),
    Check("two models, memory for one", two_models_one_place),
    Check("an engine that stands still", _in_mid_answer(signal.SIGSTOP, NATIVE, stall_timeout=STALL)),
    Check("SIGKILL of the daemon", daemon_killed),
    Check("SIGTERM of the daemon", daemon_asked_to_end),
)
