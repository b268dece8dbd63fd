"""Which presented keys are valid, and how many wrong ones an address may try."""

import base64
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from oprel.core.state.keys import GivenKey, KeyStore, new_key
from oprel.server.access.caller import AccessLevel
from oprel.server.access.keys import FAILURES_PER_MINUTE, MOST_ADDRESSES, CallerKeys, Failures

GIVEN = GivenKey("ci", "admin", "a-secret-that-somebody-chose")


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore.at(tmp_path / "state.db")


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_every_way_of_clients_presents_the_same_key(store: KeyStore) -> None:
    key, secret = new_key("laptop", "inference", created=0)
    store.add(key)
    keys = CallerKeys(store, [GIVEN], Time())
    ways = [
        {"authorization": f"Bearer {secret}"},
        {"authorization": f"bearer  {secret}"},
        {"authorization": basic("any", secret)},
        {"authorization": basic(secret, "")},
        {"authorization": "Bearer ollama", "x-api-key": secret},
        {"x-api-key": secret},
        {"api-key": secret},
    ]
    for headers in ways:
        presented = keys.check(Headers(headers), "10.0.0.7")
        assert presented.key and presented.key.name == "laptop", headers
    given = keys.check(Headers({"authorization": f"Bearer {GIVEN.secret}"}), "").key
    assert given and given.access is AccessLevel.ADMIN


def test_wrong_keys_are_a_problem_and_no_key_is_none(store: KeyStore) -> None:
    secret = new_key("a", "inference", created=0)[1]
    keys = CallerKeys(store, [], Time())
    wrong = [f"Bearer {secret}", "Bearer ollama", "Bearer -", basic("a", "b"), "Bearer " + "x" * 10_000]
    for text in wrong:
        assert keys.check(Headers({"authorization": text}), "").problem == "this key is not valid", text
    for text in ("", "Digest x", "Basic %", "Basic " + base64.b64encode(b"\xff:\xff").decode()):
        presented = keys.check(Headers({"authorization": text}), "")
        assert presented.key is None and not presented.problem, text


def test_changes_by_another_process_count_at_once(store: KeyStore, tmp_path: Path) -> None:
    keys, command = CallerKeys(store, [], Time()), KeyStore.at(tmp_path / "state.db")
    assert not keys.has_any()
    key, secret = new_key("a", "inference", created=0)
    headers = Headers({"x-api-key": secret})
    command.add(key)
    assert keys.has_any() and keys.check(headers, "").key
    replaced, new_secret = new_key("a", "inference", created=0)
    command.replace(replaced)
    assert keys.check(headers, "").problem and keys.check(Headers({"x-api-key": new_secret}), "").key
    command.remove("a")
    assert not keys.has_any() and keys.check(Headers({"x-api-key": new_secret}), "").problem


def test_a_key_ends_at_its_time(store: KeyStore) -> None:
    now = Time()
    key, secret = new_key("a", "inference", created=0, expires=now.now + 1)
    store.add(key)
    keys = CallerKeys(store, [], now, now)
    assert keys.has_any() and keys.check(Headers({"x-api-key": secret}), "").key
    now.now += 1
    assert not keys.has_any()
    assert keys.check(Headers({"x-api-key": secret}), "").problem == "the key 'a' has expired"


def test_an_address_that_guesses_is_slowed_and_generated_keys_still_count(store: KeyStore) -> None:
    time = Time()
    key, secret = new_key("a", "inference", created=0)
    store.add(key)
    keys = CallerKeys(store, [GIVEN], time)
    for _ in range(FAILURES_PER_MINUTE):
        keys.failures.note("10.0.0.7", "wrong")
    assert "again in 2 s" in keys.failures.note("10.0.0.7", "wrong")
    chosen = Headers({"x-api-key": GIVEN.secret})
    assert keys.check(chosen, "10.0.0.7").problem and keys.check(chosen, "10.0.0.8").key
    assert keys.check(Headers({"x-api-key": secret}), "10.0.0.7").key
    time.now += 60
    assert keys.check(chosen, "10.0.0.7").key


def test_failures_are_logged_once_a_minute_and_bounded(caplog: pytest.LogCaptureFixture) -> None:
    time = Time()
    failures = Failures(time)
    for _ in range(3):
        failures.note("2001:db8::1", "wrong")
        failures.note("2001:db8::2", "wrong")
    assert len(caplog.messages) == 1
    for number in range(2 * MOST_ADDRESSES):
        failures.note(f"10.1.{number // 256}.{number % 256}", "wrong")
    assert len(failures._buckets) <= MOST_ADDRESSES and len(failures._logged) <= MOST_ADDRESSES
    time.now += 60
    caplog.clear()
    failures.note("2001:db8::3", "wrong")
    assert len(caplog.messages) == 1
