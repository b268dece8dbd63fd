"""Measures a model through the daemon, as any client would: a few short requests, of seconds rather than minutes."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING

from oprel.core.exceptions import BackendError, ModelNotFoundError
from oprel.core.names import DEFAULT_TAG
from oprel.wire.benchmarks import Benchmark

if TYPE_CHECKING:
    from oprel.api_models import GenerateResponse, ListedModel
    from oprel.client_api import Client
    from oprel.wire.daemon import EngineModel

RUNS = 3
LONGEST = 15.0  # s; a model that has taken longer is not run again
ANSWER = 48  # tokens
WORDS = "the river runs past seven quiet houses and asks what light a morning brings to walls of stone ".split()
LONG, SHORT = 360, 8  # words of a prompt that measures prefill, and of one that measures an answer


@dataclass(frozen=True)
class Run:
    """One round of requests. Speeds in tokens per second; None where the engine did not report them."""

    prefill_speed: float | None
    decode_speed: float | None
    first_token_seconds: float


def subjects(models: "Sequence[ListedModel]", names: Sequence[str]) -> "list[ListedModel]":
    """The installed models that are meant. A name without a tag means all of its tags, the smallest model first.

    Raises ModelNotFoundError.
    """
    chosen: dict[str, ListedModel] = {}
    for name in names:
        matching = [model for model in models if _is_meant(model.name, name)]
        if not matching:
            raise ModelNotFoundError(f'model "{name}" is not installed', "`oprel list` shows what is.")
        chosen |= {model.name: model for model in sorted(matching, key=lambda model: (model.size, model.name))}
    return list(chosen.values())


def _is_meant(model: str, name: str) -> bool:
    return model in (name, f"{name}:{DEFAULT_TAG}") or model.startswith(f"{name}:")


def benchmark(
    client: "Client", model: "ListedModel", machine: str, clock: Callable[[], float] = time.monotonic
) -> Benchmark:
    """Load and measure a model, and leave it loaded only if it was. Raises OprelError."""
    with loaded(client, model.name):
        began, runs = clock(), list[Run]()
        while not runs or (len(runs) < RUNS and clock() - began < LONGEST):
            runs.append(run(client, model.name, f"{time.time_ns()} {len(runs)}", clock))
        engine = next((each for each in client.engines().models if model.name in each.names), None)
    if engine is None:
        raise BackendError(f"{model.name} was unloaded while it was measured", "Run it again.")
    return Benchmark(
        model=model.name,
        digest=model.digest,
        quantization=model.details.quantization_level or "",
        machine=machine,
        settings=settings_of(engine),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        runs=len(runs),
        prefill_speed=_median([each.prefill_speed for each in runs]),
        decode_speed=_median([each.decode_speed for each in runs]),
        first_token_seconds=median(each.first_token_seconds for each in runs),
        load_seconds=engine.load_seconds,
        memory_bytes=engine.memory_bytes,
        expected_bytes=engine.expected_bytes,
    )


@contextmanager
def loaded(client: "Client", name: str) -> Iterator[None]:
    """Inside the block the model is loaded."""
    was_loaded = any(name in engine.names for engine in client.engines().models)
    client.load(name)
    try:
        yield
    finally:
        if not was_loaded:
            client.unload(name)


def run(client: "Client", name: str, label: str, clock: Callable[[], float]) -> Run:
    """A long prompt, and a short one with an answer. `label` makes the prompts unlike all earlier ones, so that no
    cache answers for the model."""
    _, prefill = timed(client, name, prompt(f"{label} long", LONG), 1, clock)
    seconds, answer = timed(client, name, prompt(f"{label} short", SHORT), ANSWER, clock)
    computed = (prefill.prompt_eval_count or 0) - (prefill.prompt_eval_cached_count or 0)
    return Run(
        prefill_speed=speed(computed, prefill.prompt_eval_duration),
        decode_speed=speed(answer.eval_count, answer.eval_duration),
        first_token_seconds=seconds,
    )


def timed(
    client: "Client", name: str, prompt: str, tokens: int, clock: Callable[[], float]
) -> "tuple[float, GenerateResponse]":
    """The seconds until the first piece of the answer, and its last one."""
    options = {"temperature": 0.0, "num_predict": tokens, "ignore_eos": True}
    began = clock()
    pieces = client.generate(name, prompt, stream=True, raw=True, options=options)
    first = next(pieces)
    seconds = clock() - began
    return seconds, [first, *pieces][-1]


def prompt(label: str, words: int) -> str:
    return " ".join([label, *(WORDS[index % len(WORDS)] for index in range(words))])


def speed(tokens: int | None, nanoseconds: int | None) -> float | None:
    """Tokens per second; None if either is missing.

    >>> speed(48, 2_000_000_000), speed(48, None)
    (24.0, None)
    """
    return tokens * 1e9 / nanoseconds if tokens and nanoseconds else None


def _median(values: Sequence[float | None]) -> float:
    """Of the values that are known; 0 if none is."""
    return median([value for value in values if value is not None] or [0.0])


def settings_of(engine: "EngineModel") -> str:
    """How the engine runs the model, as far as it affects speed and memory."""
    return f"{engine.engine}, context {engine.context_length}, {engine.slots} slots, {engine.gpu_share:.0%} on GPUs"
