"""Faults of engines, models, clients and daemons, and how oprel must handle each, as a table."""

import json
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx

from oprel.client.plain.daemon_state import is_up
from oprel.core.exceptions import OprelError
from oprel.selftest.checks import Check, CheckResult
from oprel.selftest.dialects import ANTHROPIC, NATIVE, OPENAI, TestedDialect
from oprel.selftest.sandbox import POLL_INTERVAL, QUEUE, SLOTS, Sandbox, StreamedAnswer, Unmet, expect, runs, wait_until
from oprel.utils.process import systems

ATTEMPTS = 30  # to hit an engine during one of guide's short answers, or while it loads
STALL = "2s"
UNAVAILABLE = httpx.codes.SERVICE_UNAVAILABLE


def answer_survives(
    number: signal.Signals | None, dialect: TestedDialect, sandbox: Sandbox, **settings: str | int
) -> CheckResult:
    """Send the engine a signal in mid-answer; without one, put it aside."""
    sandbox.serve(**settings)
    for _ in range(ATTEMPTS):
        model = sandbox.model()
        undisturbed = sandbox.stream(dialect, model)
        answer = sandbox.stream(dialect, model, partial(sandbox.signal, model, number))
        expect(answer.complete, f"a complete answer, not one that ends after {answer.text!r}")
        expect(answer.text == undisturbed.text, f"the undisturbed answer, {undisturbed.text!r}, not {answer.text!r}")
        hit = sandbox.engine(model).restarts > 0
        if not hit:
            sandbox.resume(model)  # in case it was stopped
        sandbox.client.unload(model)
        if hit:
            return CheckResult("the answer continued as if nothing had happened", answer.pause)
    raise Unmet("an engine that is still answering after its first word")


def killed_while_idle(sandbox: Sandbox) -> CheckResult:
    sandbox.serve()
    model = sandbox.model()
    before = sandbox.stream(NATIVE, model)
    sandbox.signal(model, systems.KILL)
    began = time.monotonic()
    after = sandbox.stream(NATIVE, model)
    expect(after.complete and after.text == before.text, f"the same answer as before, not {after.text!r}")
    sandbox.client.unload(model)
    return CheckResult("another engine answered the next request", time.monotonic() - began)


def killed_while_loading(sandbox: Sandbox) -> CheckResult:
    sandbox.serve()
    for _ in range(ATTEMPTS):
        model = sandbox.model()
        with ThreadPoolExecutor() as pool:
            request = pool.submit(sandbox.stream, NATIVE, model)
            if not _kill_starting(sandbox, model, request):
                request.result()
                sandbox.client.unload(model)
                continue
            began = time.monotonic()
            expect(request.result().complete, "a complete answer")
        sandbox.client.unload(model)
        return CheckResult("another engine answered the request", time.monotonic() - began)
    raise Unmet("an engine caught while it loads")


def _kill_starting(sandbox: Sandbox, model: str, request: Future[StreamedAnswer]) -> bool:
    """Kill the engine of the request while it loads; False when it was ready before it was seen."""
    while not request.done():
        for engine in sandbox.client.engines().models:
            if engine.name == model and engine.state == "ready":
                return False
            if engine.name == model and engine.pid:
                sandbox.signal(model, systems.KILL)
                return True
        time.sleep(POLL_INTERVAL)
    return False


def damaged_model(sandbox: Sandbox) -> CheckResult:
    sandbox.serve()
    path = Path(sandbox.model())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    try:
        sandbox.client.generate(str(path), "hello")
    except OprelError as error:
        expect(sandbox.client.health().status == "ok", "a daemon that keeps running")
        return CheckResult(error.message.splitlines()[0])
    raise Unmet("an error")


def client_leaves(sandbox: Sandbox) -> CheckResult:
    sandbox.serve()
    model = sandbox.model()
    sandbox.stream(NATIVE, model)
    with sandbox.paused(model):
        body = json.dumps(NATIVE.body(model)).encode()
        with socket.create_connection((sandbox.http.base_url.host, sandbox.http.base_url.port or 0)) as client:
            head = f"POST {NATIVE.path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)
            wait_until(lambda: sandbox.engine(model).slots_taken == 1, "a request in the engine")
        freed = wait_until(lambda: sandbox.engine(model).in_flight == 0, "a free slot")
    expect(sandbox.stream(NATIVE, model).complete, "an answer to the next client")
    sandbox.client.unload(model)
    return CheckResult("its slot was freed", freed)


def more_than_slots(sandbox: Sandbox) -> CheckResult:
    """Fill the queue, then send one more request."""
    sandbox.serve()
    model = sandbox.model()
    undisturbed = sandbox.stream(NATIVE, model)
    with ThreadPoolExecutor(SLOTS + QUEUE) as pool:
        with sandbox.paused(model):
            requests = [pool.submit(sandbox.stream, NATIVE, model) for _ in range(SLOTS + QUEUE)]
            wait_until(lambda: sandbox.engine(model).in_flight == SLOTS + QUEUE, "all requests in the queue")
            refused = sandbox.http.post(NATIVE.path, json=NATIVE.body(model))
        answers = [request.result() for request in requests]
    expect(refused.status_code == UNAVAILABLE, f"503 when the queue is full, not {refused.status_code}")
    expect(int(refused.headers.get("retry-after", "0")) >= 1, "a Retry-After with it")
    same = all(answer.complete and answer.text == undisturbed.text for answer in answers)
    expect(same, "the same answer for all others")
    return CheckResult(f"{SLOTS} slots answered {len(answers)} requests, one was refused with Retry-After")


def two_models_memory_for_one(sandbox: Sandbox) -> CheckResult:
    sandbox.serve()
    first, second = sandbox.model(), sandbox.model()
    sandbox.client.load(first)
    budget = sandbox.engine(first).predicted_bytes * 3 // 2 // 1024**2
    sandbox.serve(default_max_memory_mb=budget)
    sandbox.client.load(first)
    before = sandbox.engine(first).pid or 0
    expect(sandbox.stream(NATIVE, second).complete, "an answer of the second model")
    expect(not runs(before), "no engine of the first model")
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(partial(sandbox.stream, NATIVE), [first, second] * 3))
    expect(all(answer.complete for answer in answers), "an answer to every request")
    expect(len(sandbox.client.engines().models) == 1, "one engine at a time")
    return CheckResult(f"within {budget} MiB they took turns")


def daemon_killed(sandbox: Sandbox) -> CheckResult:
    sandbox.serve_somehow()
    model = sandbox.model()
    sandbox.client.load(model)
    engine = sandbox.engine(model).pid or 0
    sandbox.end(systems.KILL)
    seconds = wait_until(lambda: not runs(engine), "no engine that outlives its daemon")
    sandbox.serve()
    expect(not list((sandbox.config.run_dir / "engines").glob("*")), "no record of the dead engine")
    expect(sandbox.stream(NATIVE, model).complete, "an answer of the next daemon")
    return CheckResult("its engine exited with it, and the next daemon started cleanly", seconds)


def daemon_stopped(sandbox: Sandbox) -> CheckResult:
    sandbox.serve()
    model = sandbox.model()
    undisturbed = sandbox.stream(NATIVE, model)
    with ThreadPoolExecutor() as pool:
        with sandbox.paused(model):
            request = pool.submit(sandbox.stream, NATIVE, model)
            wait_until(lambda: sandbox.engine(model).slots_taken == 1, "a request in the engine")
            sandbox.signal_daemon(signal.SIGTERM)
            wait_until(lambda: not is_up(sandbox.config), "a daemon that stops")
            late = sandbox.http.post(NATIVE.path, json=NATIVE.body(model))
        answer = request.result()
    expect(late.status_code == UNAVAILABLE and "retry-after" in late.headers, "503 with Retry-After for new requests")
    expect(answer.complete and answer.text == undisturbed.text, f"the complete answer, not {answer.text!r}")
    expect(sandbox.wait() == 0, "exit status 0")
    expect(not list(sandbox.config.run_dir.glob("*.sock")), "no socket left behind")
    return CheckResult("the answer was finished, and a new request was refused with Retry-After")


def _in_mid_answer(
    number: signal.Signals | None, dialect: TestedDialect, **settings: str | int
) -> Callable[[Sandbox], CheckResult]:
    return lambda sandbox: answer_survives(number, dialect, sandbox, **settings)


FAULTS = (
    *(
        Check(f"SIGKILL in mid-answer ({dialect.name})", _in_mid_answer(systems.KILL, dialect))
        for dialect in (NATIVE, OPENAI, ANTHROPIC)
    ),
    Check("SIGTERM in mid-answer", _in_mid_answer(signal.SIGTERM, NATIVE)),
    Check("SIGSEGV in mid-answer", _in_mid_answer(signal.SIGSEGV, NATIVE)),
    Check("SIGKILL of an idle engine", killed_while_idle),
    Check("SIGKILL of a loading engine", killed_while_loading),
    Check("a damaged model", damaged_model),
    Check("a client that disconnects", client_leaves),
    Check("more requests than slots", more_than_slots),
    Check("two models, memory for one", two_models_memory_for_one),
    Check("an engine that hangs", _in_mid_answer(None, NATIVE, stall_timeout=STALL)),
    Check("SIGKILL of the daemon", daemon_killed),
    Check("SIGTERM of the daemon", daemon_stopped),
)
