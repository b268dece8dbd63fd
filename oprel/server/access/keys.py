"""Which key a request presents, and whether it is valid."""

import base64
import binascii
import ipaddress
import logging
import math
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers

from oprel.core.exceptions import RateLimitError
from oprel.core.state.keys import SECRET, GivenKey, KeyStore, StoredKey, salted
from oprel.server.access.caller import AccessLevel, Key
from oprel.server.access.ledger import MINUTE, Bucket, KeyLimits, Ledger

logger = logging.getLogger(__name__)

ACCESS = {"inference": AccessLevel.INFERENCE, "admin": AccessLevel.ADMIN}
FAILURES_PER_MINUTE = 30  # of one address; more are not looked at
MOST_ADDRESSES = 1024  # whose failures are counted
LONGEST_SECRET = 512  # characters
AUTHORIZATION = b"authorization"
HEADERS = (AUTHORIZATION, b"x-api-key", b"api-key")
INVALID = "this key is not valid"


@dataclass(frozen=True)
class PresentedKey:
    """`problem`: why what was presented is no valid key; empty if it is, or if there was nothing."""

    key: Key | None = None
    problem: str = ""


NOTHING = PresentedKey()


class CallerKeys:
    """Owner of what is known of keys in memory. `clock` in seconds; `now` is the time of day, for expiry."""

    def __init__(
        self,
        store: KeyStore,
        given: Sequence[GivenKey],
        clock: Callable[[], float],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._salt = secrets.token_bytes(16)
        self._given = {salted(self._salt, key.secret): Key(key.name, ACCESS[key.scope]) for key in given}
        self._stored: dict[str, tuple[StoredKey, Key]] = {}
        self._version: int | None = None
        self._now = now
        self.ledger = Ledger(clock)
        self.failures = Failures(clock)

    def has_any(self) -> bool:
        """Whether there is a key that is valid now."""
        self._refresh()
        now = self._now()
        return bool(self._given) or any(not stored.is_expired(now) for stored, _ in self._stored.values())

    def stored(self) -> list[StoredKey]:
        self._refresh()
        return [stored for stored, _ in self._stored.values()]

    def check(self, headers: Headers, address: str) -> PresentedKey:
        """What the request presents. Clients without a key send placeholders, which are no valid keys."""
        problem = ""
        for secret in presented_secrets(headers):
            presented = self._checked(secret, address)
            if presented.key:
                return presented
            problem = problem or presented.problem
        return PresentedKey(None, problem) if problem else NOTHING

    def admit(self, key: Key) -> None:
        """Count a request of this key. Raises RateLimitError."""
        wait = self.ledger.admit(key.name, key.limits)
        if wait:
            error = RateLimitError(f"the key {key.name!r} has used its limit of a minute", "Try again later.")
            error.retry_after = wait
            raise error

    def close(self) -> None:
        self._store.close()

    def _checked(self, secret: str, address: str) -> PresentedKey:
        if match := SECRET.fullmatch(secret):
            self._refresh()
            entry = self._stored.get(match[1])
            if entry is None or not entry[0].matches(secret):
                return PresentedKey(None, INVALID)
            stored, key = entry
            over = stored.is_expired(self._now())
            return PresentedKey(None, f"the key {stored.name!r} has expired") if over else PresentedKey(key)
        if not self._given or len(secret) > LONGEST_SECRET:
            return PresentedKey(None, INVALID)
        if self.failures.wait(address):  # a secret that somebody chose might be guessed, one of ours cannot be
            return PresentedKey(None, INVALID)
        # The digest has a random salt, so that the time of this look-up says nothing about a secret.
        given = self._given.get(salted(self._salt, secret))
        return PresentedKey(given) if given else PresentedKey(None, INVALID)

    def _refresh(self) -> None:
        """Read the keys again after anything wrote to the database, perhaps a command. About 2 µs without a change."""
        try:
            version = self._store.version()
            if version == self._version:
                return
            stored = {key.id: (key, _key(key)) for key in self._store.all()}
        except (sqlite3.Error, ValueError) as error:  # busy, or damaged: what was read last is still right
            logger.warning("the keys in state.db cannot be read: %s", error)
            return
        if stored != self._stored:
            self.ledger.keep_only({key.name for key, _ in stored.values()})
        self._stored, self._version = stored, version


class Failures:
    """How often an address presented a wrong key lately. `clock` in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}
        self._logged: dict[str, float] = {}

    def wait(self, address: str) -> float:
        """For how many seconds no further key of the address is looked at."""
        bucket = self._buckets.get(network_of(address))
        return bucket.wait(1, self._clock()) if bucket else 0.0

    def note(self, address: str, problem: str) -> str:
        """Count a failure and log the first one of a minute; returns the problem, or that there were too many."""
        network, now = network_of(address), self._clock()
        bucket = self._buckets.pop(network, None) or Bucket(FAILURES_PER_MINUTE, now)
        self._buckets[network] = bucket  # the last one that was used
        if wait := bucket.wait(1, now):
            return f"too many wrong keys came from this address: chosen ones count again in {math.ceil(wait)} s"
        bucket.take(1, now)
        if now - self._logged.get(network, -math.inf) >= MINUTE:
            logger.warning("a request from %s presented no valid key: %s", address or "this machine", problem)
            self._logged[network] = now
        for oldest in [*self._buckets][:-MOST_ADDRESSES]:
            del self._buckets[oldest]
            self._logged.pop(oldest, None)
        return problem


def network_of(address: str) -> str:
    """Whom failures count for: an IPv4 address, or the network of an IPv6 address, which one machine has for itself.

    >>> network_of("10.0.0.7"), network_of("2001:db8::1:2:3:4")
    ('10.0.0.7', '2001:db8::/64')
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ipaddress.ip_network(f"{ip}/64", strict=False)) if ip.version == 6 else str(ip)


def presented_secrets(headers: Headers) -> Iterator[str]:
    """The secrets that a request presents, in every way that clients know.

    OpenAI's and Ollama's send `Authorization: Bearer`, Anthropic's `x-api-key` or the same, Azure's `api-key`,
    curl and Prometheus the password of `Authorization: Basic`.
    """
    sent = {name: value.decode("latin-1").strip() for name, value in headers.raw if name in HEADERS}
    scheme, _, rest = sent.pop(AUTHORIZATION, "").partition(" ")
    match scheme.lower():
        case "bearer":
            yield rest.strip()
        case "basic":
            yield from _password(rest.strip())
    yield from filter(None, sent.values())


def _password(text: str) -> Iterator[str]:
    try:
        user, colon, password = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return
    if colon:
        yield password or user


def _key(stored: StoredKey) -> Key:
    limits = KeyLimits(stored.requests_per_minute, stored.tokens_per_minute)
    return Key(stored.name, ACCESS[stored.scope], stored.models, limits)
