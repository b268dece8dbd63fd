"""The last responses: bounded in number, bytes and time."""

from hypothesis import given, settings
from hypothesis import strategies as st

from oprel.server.history.stored_responses import StoredResponses


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_an_item_is_found_by_its_id() -> None:
    stored = StoredResponses()
    stored.put("", "resp_1", {"rs_1": b"thoughts", "fc_1": b"call"})
    assert (stored.item("", "rs_1"), stored.item("", "fc_1"), stored.item("", "resp_1")) == (b"thoughts", b"call", None)


def test_no_caller_gets_what_another_was_answered() -> None:
    stored = StoredResponses()
    for caller in ("", "key:a", None):
        stored.of(caller).put(f"resp_{caller}", {f"msg_{caller}": b"x"})
    items = ("msg_", "msg_key:a", "msg_None")
    assert [stored.of("").item(item) for item in items] == [b"x", None, None]
    assert [stored.of("key:a").item(item) for item in items] == [None, b"x", None]
    assert [stored.of(None).item(item) for item in items] == [None, None, None]


def test_the_oldest_is_dropped_for_the_number() -> None:
    stored = StoredResponses(most=2)
    for number in range(3):
        stored.put("", f"resp_{number}", {f"msg_{number}": b"x"})
    assert [stored.item("", f"msg_{number}") for number in range(3)] == [None, b"x", b"x"]


def test_the_oldest_is_dropped_for_the_bytes() -> None:
    stored = StoredResponses(most_bytes=100)
    stored.put("", "resp_1", {"msg_1": b"x" * 60})
    stored.put("", "resp_2", {"msg_2": b"y" * 60})
    assert (stored.item("", "msg_1"), stored.item("", "msg_2")) == (None, b"y" * 60)
    stored.put("", "resp_3", {"msg_3": b"z" * 200})  # more than all may have
    assert [stored.item("", f"msg_{number}") for number in (1, 2, 3)] == [None, None, None]


def test_a_response_is_forgotten_in_time() -> None:
    clock = Clock()
    stored = StoredResponses(clock, seconds=60)
    stored.put("", "resp_1", {"msg_1": b"x"})
    clock.now += 59
    stored.put("", "resp_2", {"msg_2": b"y"})
    assert stored.item("", "msg_1") == b"x"
    clock.now += 1
    assert (stored.item("", "msg_1"), stored.item("", "msg_2")) == (None, b"y")


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40), st.integers(0, 30)), max_size=40))
def test_the_bounds_hold_whatever_comes(puts: list[tuple[int, int, int]]) -> None:
    clock = Clock()
    stored = StoredResponses(clock, most=3, most_bytes=90, seconds=50)
    sizes: dict[str, tuple[float, int]] = {}
    for name, size, wait in puts:
        clock.now += wait
        stored.put("", f"resp_{name}", {f"m{name}": b"x" * size})
        sizes[f"m{name}"] = (clock.now, size)
        kept = [item for item in sizes if stored.item("", item) is not None]
        assert len(kept) <= 3 and sum(sizes[item][1] + 2 for item in kept) <= 90
        assert all(clock.now - sizes[item][0] < 50 for item in kept)
        assert (f"m{name}" in kept) is (size + 2 <= 90)
