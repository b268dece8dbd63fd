"""What of a file is here, and the note of it."""

import random
from pathlib import Path

import pytest

from oprel.downloader.transfer.segments import Segments, Version, load, save, saved_segments

WANTED = Version(100, "ab" * 32)


def test_segments_are_missing_in_order_until_they_are_whole():
    segments = Segments(100, 30)
    assert list(segments.missing()) == [0, 1, 2, 3]
    assert [segments.gap(number) for number in range(4)] == [(0, 29), (30, 59), (60, 89), (90, 99)]
    segments.add(1, 30)
    segments.add(0, 10)
    assert (list(segments.missing()), segments.gap(0), segments.frontier) == ([0, 2, 3], (10, 29), 10)
    segments.add(0, 20)
    assert (list(segments.missing()), segments.frontier, segments.done_bytes) == ([2, 3], 60, 60)


@pytest.mark.parametrize("seed", range(20))
def test_in_whatever_order_bytes_come_the_file_is_whole_when_all_are_there(seed: int):
    chance = random.Random(seed)
    segments = Segments(chance.randrange(1, 500), chance.randrange(1, 60))
    while missing := list(segments.missing()):
        number = chance.choice(missing)
        first, last = segments.gap(number) or (0, 0)
        segments.add(number, chance.randrange(1, last - first + 2))
        assert segments.frontier <= segments.done_bytes
        assert segments.is_complete == (list(segments.missing()) == [])
    assert segments.frontier == segments.done_bytes == segments.size_bytes


def test_a_file_of_nothing_is_complete():
    assert Segments(0, 10).is_complete and not list(Segments(0, 10).missing())


def test_what_was_noted_is_found_again(tmp_path: Path):
    segments = Segments(100, 30)
    for number, count in ((0, 30), (2, 7), (1, 5)):
        segments.add(number, count)
    version = Version(100, WANTED.sha256, '"etag"', "host")
    save(tmp_path / "state", version, segments)
    found = load(tmp_path / "state", WANTED)
    assert found is not None
    assert (found[0], found[1].state, found[1].done_bytes) == (version, segments.state, 42)
    of_any = saved_segments(tmp_path / "state")
    assert of_any and (of_any.done_bytes, of_any.size_bytes) == (42, 100)


@pytest.mark.parametrize("content", ["", "[]", '{"size": 1}', '{"size": 1, "segment": 0, "frontier": 0, "beyond": {}}'])
def test_a_note_that_cannot_be_read_tells_nothing(content: str, tmp_path: Path):
    (tmp_path / "state").write_text(content)
    assert saved_segments(tmp_path / "state") is None


@pytest.mark.parametrize(
    "wanted", [Version(101, WANTED.sha256), Version(100, "cd" * 32), Version(100)], ids=["size", "digest", "no digest"]
)
def test_what_was_noted_of_another_file_counts_for_nothing(wanted: Version, tmp_path: Path):
    save(tmp_path / "state", WANTED, Segments(100, 30))
    assert load(tmp_path / "state", wanted) is None


@pytest.mark.parametrize(
    ("segment", "frontier", "beyond"),
    [(0, 0, {}), (-5, 0, {}), (30, 101, {}), (30, -1, {}), (30, 30, {"0": 5}), (30, 0, {"3": 11}), (30, 0, {"1": -1})],
)
def test_a_state_that_no_file_can_be_in_is_refused(segment: int, frontier: int, beyond: dict[str, int]):
    with pytest.raises(ValueError, match="invalid state of"):
        Segments.restored(100, segment, frontier, beyond)


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        (Version(1, "", "a", "x"), Version(1, "", "a", "y"), True),
        (Version(1, "", "a", "x"), Version(1, "", "b", "x"), False),
        (Version(1, "", "a", "x"), Version(1, "", "b", "y"), False),
        (Version(1, "s", "a", "x"), Version(1, "s", "b", "x"), True),
        (Version(1, "s", "a", "x"), Version(1, "t", "a", "x"), False),
        (Version(1, "s", "a", "x"), Version(1, "s", "b", "y"), True),
        (Version(1, "s", "", "x"), Version(1, "s", "b", "x"), True),
    ],
)
def test_etags_are_compared_only_without_a_digest(one: Version, other: Version, agree: bool):
    assert one.agrees(other) == other.agrees(one) == agree
