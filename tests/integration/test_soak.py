"""Endurance of a daemon.

Two hundred clients of three models that do not fit together: nobody starves, nothing is lost, the memory is kept. And
models that come and go all the time, while something cleans the run folder: no request fails.
"""

import asyncio
import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest

from oprel.core.config import Config
from oprel.core.models.manifests import Manifest, Manifests
from tests.conftest import RunningDaemon, running_daemon, temporary_home
from tests.fixtures.limits import megabytes_for

pytestmark = pytest.mark.long

CLIENTS = 200
MODELS = ("one", "two", "three")
TOKENS = 8
FEW = 6
QUICK_KEEP_ALIVE = 1.0  # s


@dataclass
class Tally:
    """What the clients saw. Seconds."""

    outcomes: Counter[tuple[str, int]] = field(default_factory=Counter)
    answered: Counter[int] = field(default_factory=Counter)  # by client
    longest: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    most_engines: int = 0
    most_memory: int = 0

    def __str__(self) -> str:
        answered = {model: self.outcomes[model, 200] for model in MODELS}
        longest = {model: round(seconds, 1) for model, seconds in self.longest.items()}
        refused = sum(self.outcomes[model, 503] for model in MODELS)
        memory = f"{self.most_memory / 2**20:.0f} MiB in at most {self.most_engines} engines"
        least = min(self.answered[number] for number in range(CLIENTS))
        return f"answers {answered}, at least {least} a client, refused {refused}, longest wait {longest} s, {memory}"


async def ask(number: int, http: httpx.AsyncClient, model: str, tally: Tally) -> None:
    began = time.monotonic()
    reply = await http.post(
        "/api/generate",
        json={"model": model, "prompt": "hello", "stream": False, "options": {"num_predict": TOKENS, "num_ctx": 256}},
    )
    tally.outcomes[model, reply.status_code] += 1
    if reply.status_code == 200:
        tally.answered[number] += 1
        tally.longest[model] = max(tally.longest.get(model, 0.0), time.monotonic() - began)
        if not reply.json().get("done") or reply.json()["eval_count"] < 1:
            tally.wrong.append(reply.text)
    elif reply.status_code == 503:
        await asyncio.sleep(min(2, int(reply.headers["Retry-After"])))
    else:
        tally.wrong.append(f"{reply.status_code} {reply.text}")


async def one_client(number: int, http: httpx.AsyncClient, until: float, tally: Tally) -> None:
    """Asks until the time is over, and until it was answered: nobody is left out, or the test does not end."""
    turn = number
    while time.monotonic() < until or not tally.answered[number]:
        # Most want the first model, some go round: a crowd at one must not shut the others out.
        await ask(number, http, MODELS[0] if turn % 4 == 0 else MODELS[turn % 3], tally)
        turn += 1


async def watch(daemon: RunningDaemon, until: float, tally: Tally) -> None:
    process = psutil.Process(daemon.process.pid)
    while time.monotonic() < until:
        sizes = []
        for engine in process.children():
            try:
                sizes.append(engine.memory_full_info().pss)
            except psutil.Error:
                continue
        tally.most_engines = max(tally.most_engines, len(sizes))
        tally.most_memory = max(tally.most_memory, sum(sizes))
        await asyncio.sleep(0.2)


async def crowd(daemon: RunningDaemon, seconds: float) -> Tally:
    tally, until = Tally(), time.monotonic() + seconds
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=CLIENTS)
    async with httpx.AsyncClient(base_url=daemon.url, timeout=120, limits=limits, trust_env=False) as http:
        clients = [one_client(number, http, until, tally) for number in range(CLIENTS)]
        await asyncio.gather(watch(daemon, until, tally), *clients)
    return tally


async def soak(tiny: Path, seconds: float) -> None:
    with temporary_home() as home:
        limit = megabytes_for(tiny, engines=2.2)  # three would fit into 2.6, with fewer slots each
        config = Config(
            home=str(home),
            server_port=0,
            n_threads=1,
            default_max_memory_mb=limit,
            max_queue=48,
        )
        for model in MODELS:
            weights = shutil.copy(tiny, home / f"{model}.gguf")
            Manifests(config.models_dir).put(Manifest(name=f"{model}:latest", weights=Path(weights)))
        with running_daemon(config) as daemon:
            tally = await crowd(daemon, seconds)
    print(f"\nsoak of {seconds:.0f} s: {tally}")  # noqa: T201 - the figures are what the test is for
    assert not tally.wrong, tally.wrong[:3]
    assert all(tally.outcomes[model, 200] > CLIENTS / 10 for model in MODELS), tally
    assert tally.most_engines <= 2 and tally.most_memory <= limit * 2**20, tally


@pytest.mark.timeout(120)
async def test_two_hundred_clients_share_what_fits(tiny: Path) -> None:
    await soak(tiny, 20)


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_two_hundred_clients_share_what_fits_for_three_minutes(tiny: Path) -> None:
    await soak(tiny, 180)


@dataclass
class SweptTally:
    """What a few clients saw of a daemon whose run folder is removed again and again."""

    answers: Counter[str] = field(default_factory=Counter)
    sweeps: int = 0
    failed: list[str] = field(default_factory=list)
    longest: float = 0.0  # s

    def __str__(self) -> str:
        return (
            f"answers {dict(self.answers)}, {self.sweeps} sweeps, {len(self.failed)} failed requests,"
            f" the longest took {self.longest:.1f} s"
        )


async def one_of_few(number: int, http: httpx.AsyncClient, until: float, tally: SweptTally) -> None:
    """Asks, and pauses for about as long as models stay."""
    chance = random.Random(number)
    while time.monotonic() < until:
        model, began = chance.choice(MODELS), time.monotonic()
        body = {"model": model, "prompt": "hello", "stream": False, "options": {"num_predict": TOKENS, "num_ctx": 256}}
        try:
            reply = await http.post("/api/generate", json=body)
        except httpx.TransportError as error:
            tally.failed.append(repr(error))
            continue
        tally.longest = max(tally.longest, time.monotonic() - began)
        tally.answers[model] += 1
        if reply.status_code != 200 or not reply.json().get("done"):
            tally.failed.append(f"{reply.status_code} {reply.text}")
        await asyncio.sleep(chance.uniform(0.0, 2 * QUICK_KEEP_ALIVE))


async def sweep(daemon: RunningDaemon, until: float, every: float, tally: SweptTally) -> None:
    while (left := until - time.monotonic()) > 0:
        await asyncio.sleep(min(every, left))
        shutil.rmtree(daemon.config.run_dir, ignore_errors=True)
        tally.sweeps += 1


async def swept(tiny: Path, seconds: float, every: float) -> None:
    with temporary_home() as home:
        config = Config(home=str(home), server_port=0, n_threads=1, keep_alive=f"{QUICK_KEEP_ALIVE:.0f}s")
        for model in MODELS:
            weights = shutil.copy(tiny, home / f"{model}.gguf")
            Manifests(config.models_dir).put(Manifest(name=f"{model}:latest", weights=Path(weights)))
        tally = SweptTally()
        with running_daemon(config) as daemon:
            until = time.monotonic() + seconds
            async with httpx.AsyncClient(base_url=daemon.url, timeout=120, trust_env=False) as http:
                clients = [one_of_few(number, http, until, tally) for number in range(FEW)]
                await asyncio.gather(sweep(daemon, until, every, tally), *clients)
    print(f"\nswept for {seconds:.0f} s: {tally}")  # noqa: T201 - the figures are what the test is for
    assert not tally.failed, tally.failed[:3]
    assert all(tally.answers[model] for model in MODELS) and tally.sweeps, tally


@pytest.mark.timeout(120)
async def test_no_request_fails_while_the_run_folder_is_swept(tiny: Path) -> None:
    await swept(tiny, seconds=20, every=5)


@pytest.mark.slow
@pytest.mark.timeout(2000)
async def test_no_request_fails_in_half_an_hour_while_the_run_folder_is_swept(tiny: Path) -> None:
    await swept(tiny, seconds=1800, every=60)
