"""256 texts embedded in one call, in 256 calls of 16 clients, and in one call to the engine alone."""

import random
from collections.abc import Callable, Iterator

from benchmarks.bench import Bench, Values
from benchmarks.figures import ENGINE, OPREL, Figure
from benchmarks.load import Load, send
from benchmarks.models import from_file, random_model
from benchmarks.processes import running_daemon

TEXTS, CLIENTS, WORDS = 256, 16, 2  # a word has several tokens
CALLS = f"{CLIENTS} clients"
VECTOR = '"embedding'  # begins the field of the vectors, in both dialects


def measure(bench: Bench) -> Iterator[Figure]:
    model = from_file("bert", random_model("bert"))
    texts = [text(number) for number in range(TEXTS)]
    with running_daemon() as daemon:
        engine = daemon.engine(model.name)

        def one_call() -> Values:
            return timed(send(daemon.address, "/api/embed", {"model": model.name, "input": texts}, mark=VECTOR))

        def many_calls() -> Values:
            body = {"model": model.name, "input": f"{texts[0]} {{{{N}}}}"}
            requests = TEXTS // CLIENTS
            return timed(send(daemon.address, "/api/embed", body, streams=CLIENTS, requests=requests, mark=VECTOR))

        def bare() -> Values:
            return timed(send(engine.address, "/v1/embeddings", {"input": texts}, mark=VECTOR))

        sides: dict[str, Callable[[], Values]] = {OPREL: one_call, CALLS: many_calls, ENGINE: bare}
        rounds = bench.compare(sides)["seconds"]
    yield Figure(subject="embeddings", name=f"{TEXTS} texts in one call", unit="s", rounds=rounds)


def timed(load: Load) -> Values:
    return {"seconds": load.seconds}


def text(number: int) -> str:
    """Words by chance, the same in each run."""
    dice = random.Random(number)
    return " ".join(
        dice.choice(("sea", "ship", "grey", "harbour", "salt", "gull", "wind", "sail")) for _ in range(WORDS)
    )
