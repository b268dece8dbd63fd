"""The daemon's counters and histograms. Counting is cheap; `monitoring.prometheus` formats the numbers on request.

Times in seconds. All methods belong to the event loop's thread.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

MOST_LABELS = 64  # models, and keys, with a label of their own; the others share `OTHER`
OTHER = "other"

WAITS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
GAPS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0)

# Why an engine was stopped: another needed its memory, its keep_alive ended, other options replaced it, or a client
# asked for it.
Eviction = Literal["memory", "idle", "replaced", "asked"]


@dataclass
class Counter:
    """A counter, with values by the values of its labels. Prometheus adds `_total` to `name`."""

    name: str
    help: str
    labels: tuple[str, ...]
    values: defaultdict[tuple[str, ...], int] = field(default_factory=lambda: defaultdict(int))

    def add(self, *labels: str, count: int = 1) -> None:
        self.values[labels] += count


class Observed:
    """Counts of observations between neighbouring `bounds`; the last count is of those above all bounds."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, seconds: float, count: int = 1) -> None:
        self.counts[bisect_left(self._bounds, seconds)] += count
        self.sum += seconds * count


class Histogram:
    """A histogram of seconds for each model."""

    def __init__(self, name: str, help: str, bounds: Sequence[float] = WAITS) -> None:
        self.name = name
        self.help = help
        self.bounds = bounds
        self.models = defaultdict[str, Observed](lambda: Observed(bounds))


class Metrics:
    """Owner of the daemon's counters. `model` is always a model's name."""

    def __init__(self) -> None:
        self._labels: set[str] = set()
        self._key_labels: set[str] = set()
        self._requests = Counter("requests", "Requests by how they ended", ("model", "outcome"))
        self._prompt = Counter("prompt_tokens", "Tokens of prompts", ("model",))
        self._generated = Counter("generated_tokens", "Tokens of answers", ("model",))
        self._loads = Counter("loads", "Starts of engines by how they ended", ("model", "outcome"))
        self._restarts = Counter("restarts", "Engines started again, by why the last one ended", ("model", "reason"))
        self._recoveries = Counter("recoveries", "Answers whose engine died, by how they ended", ("model", "outcome"))
        self._evictions = Counter("evictions", "Engines stopped, by why", ("model", "reason"))
        self._refused = Counter("refused", "Requests refused because too many wait", ("model",))
        self._slow_clients = Counter("slow_clients", "Clients disconnected because they did not read their answers", ())
        self._quarantined = Counter("quarantined", "Requests that ended engines and are not asked again", ("model",))
        self._key_requests = Counter("key_requests", "Requests by the name of their key", ("key", "status"))
        self._key_tokens = Counter("key_tokens", "Tokens of prompts and answers by the name of a key", ("key",))
        self._first_tokens = Histogram("first_token_seconds", "From a request to its first token")
        self._gaps = Histogram("inter_token_seconds", "Between two tokens of an answer", GAPS)
        self._queues = Histogram("queue_seconds", "For how long a request waited for a slot")
        self._load_times = Histogram("load_seconds", "From an engine's start to its readiness")
        self._recovery_times = Histogram("recovery_seconds", "From an engine's end until its answer went on")

    @property
    def counters(self) -> tuple[Counter, ...]:
        tokens = self._prompt, self._generated
        engines = self._loads, self._restarts, self._recoveries, self._evictions
        keys = self._key_requests, self._key_tokens
        return self._requests, *tokens, *engines, self._refused, self._slow_clients, self._quarantined, *keys

    @property
    def histograms(self) -> tuple[Histogram, ...]:
        return self._first_tokens, self._gaps, self._queues, self._load_times, self._recovery_times

    def label(self, model: str) -> str:
        """The model's name, or "other" when there are too many: each label costs memory here and in Prometheus."""
        return _label(model, self._labels)

    def key(self, name: str, status: int, tokens: int) -> None:
        """Count a request that presented the key of that name."""
        label = _label(name, self._key_labels)
        self._key_requests.add(label, str(status))
        self._key_tokens.add(label, count=tokens)

    def request(self, model: str, outcome: str, queued: float, first_token: float | None = None) -> None:
        """Count a request that has ended. `outcome` is "ok", "client_left" or an error's code."""
        label = self.label(model)
        self._requests.add(label, outcome)
        self._queues.models[label].add(queued)
        if first_token is not None:
            self._first_tokens.models[label].add(first_token)

    def gaps(self, model: str, seconds: float, count: int = 1) -> None:
        """Count tokens each of which arrived that long after the previous one."""
        self._gaps.models[self.label(model)].add(seconds, count)

    def slow_client(self) -> None:
        """Count a client that was disconnected because it did not read while others waited."""
        self._slow_clients.add()

    def tokens(self, model: str, prompt: int, generated: int) -> None:
        """Count the tokens of a request and its answer."""
        label = self.label(model)
        self._prompt.add(label, count=prompt)
        self._generated.add(label, count=generated)

    def loaded(self, model: str, seconds: float, outcome: str = "ready") -> None:
        """Count a start of an engine. `outcome` is "ready", or the reason of the exit if the start failed."""
        label = self.label(model)
        self._loads.add(label, outcome)
        if outcome == "ready":
            self._load_times.models[label].add(seconds)

    def restart(self, model: str, reason: str) -> None:
        """Count a restart of an engine. `reason` is that of its last exit."""
        self._restarts.add(self.label(model), reason)

    def recovery(self, model: str, seconds: float, outcome: str = "ok") -> None:
        """Count an answer that continued `seconds` after its engine's end, or failed with the error code `outcome`."""
        label = self.label(model)
        self._recoveries.add(label, outcome)
        if outcome == "ok":
            self._recovery_times.models[label].add(seconds)

    def eviction(self, model: str, reason: Eviction) -> None:
        """Count an engine that was stopped."""
        self._evictions.add(self.label(model), reason)

    def refused(self, model: str) -> None:
        """Count a request refused because too many wait."""
        self._refused.add(self.label(model))

    def quarantined(self, model: str) -> None:
        """Count a request put into quarantine."""
        self._quarantined.add(self.label(model))


def _label(name: str, labels: set[str]) -> str:
    if name not in labels:
        if len(labels) >= MOST_LABELS:
            return OTHER
        labels.add(name)
    return name
