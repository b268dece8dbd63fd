"""What each key used lately, against its limits. Pure but for the clock."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

MINUTE = 60.0  # s


@dataclass(frozen=True)
class KeyLimits:
    """0 is no limit."""

    requests_per_minute: int = 0
    tokens_per_minute: int = 0


class Bucket:
    """A token bucket: holds what may be used in a minute, and fills at that rate."""

    def __init__(self, per_minute: int, now: float) -> None:
        self._per_minute = per_minute
        self._level = float(per_minute)
        self._filled_at = now

    @property
    def per_minute(self) -> int:
        return self._per_minute

    def wait(self, needed: float, now: float) -> float:
        """The seconds until it has `needed`."""
        self._fill(now)
        return max(0.0, needed - self._level) * MINUTE / self._per_minute

    def take(self, amount: float, now: float) -> None:
        """It may take more than there is: what an answer used is known at its end only, and delays the next one."""
        self._fill(now)
        self._level -= amount

    def _fill(self, now: float) -> None:
        filled = self._level + max(0.0, now - self._filled_at) * self._per_minute / MINUTE
        self._level, self._filled_at = min(float(self._per_minute), filled), now


class Ledger:
    """Requests and tokens by the name of a key. The one counter for limits. `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._requests: dict[str, Bucket] = {}
        self._tokens: dict[str, Bucket] = {}

    def admit(self, name: str, limits: KeyLimits) -> float:
        """Count a request, or return for how many seconds it has to wait."""
        now = self._clock()
        requests = _bucket(self._requests, name, limits.requests_per_minute, now)
        tokens = _bucket(self._tokens, name, limits.tokens_per_minute, now)
        wait = max(requests.wait(1, now) if requests else 0.0, tokens.wait(1, now) if tokens else 0.0)
        if requests and not wait:
            requests.take(1, now)
        return wait

    def book(self, name: str, limits: KeyLimits, tokens: int) -> None:
        """Count the tokens of a request that has ended."""
        now = self._clock()
        if bucket := _bucket(self._tokens, name, limits.tokens_per_minute, now):
            bucket.take(tokens, now)

    def keep_only(self, names: Collection[str]) -> None:
        """Forget all others."""
        for buckets in (self._requests, self._tokens):
            for name in buckets.keys() - {*names}:
                del buckets[name]


def _bucket(buckets: dict[str, Bucket], name: str, per_minute: int, now: float) -> Bucket | None:
    """The key's bucket, a new one after its limit was changed; None without a limit."""
    if not per_minute:
        return None
    bucket = buckets.get(name)
    if bucket is None or bucket.per_minute != per_minute:
        bucket = buckets[name] = Bucket(per_minute, now)
    return bucket
