"""What servers may call their files, and how long they are waited for."""

import pytest

from oprel.core.configuration.rates import parse_rates, rate_at
from oprel.core.exceptions import ModelNotFoundError, ValidationError
from oprel.core.names import HubOrigin
from oprel.core.variants import RepoFile, Variant
from oprel.downloader.backoff import LONGEST_WAIT, Throttle, backoff, retry_after
from oprel.downloader.cache import HubCache
from oprel.downloader.offers import Repository, usual, wanted
from oprel.downloader.source import checked_name
from oprel.formats.gguf import GGUFFile

HASH = "0123456789abcdef" * 4


@pytest.mark.parametrize("name", ["model.gguf", "Q8_0/model-00001-of-00002.gguf", "ä b (1).json", ".gitattributes"])
def test_names_of_files_are_taken_as_they_are(name: str):
    assert checked_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/../b", "a/./b", "/etc/passwd", "a//b", "a/", "a\0b", "a\nb", "a\\b", "\ud800"]
    + ["x" * 256, "/".join("x" * 200 for _ in range(6)), "x" * 10_000],
)
def test_names_that_lead_elsewhere_are_refused(name: str):
    with pytest.raises(ValidationError, match="the file name") as caught:
        checked_name(name)
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    "name", ["..", "../x", "org/", "org/../x", "org/a/b", "org/a--b", "/a/b", "org/a\0", "-/x", ""]
)
def test_names_of_repositories_that_lead_elsewhere_are_refused(name: str, tmp_path):
    with pytest.raises(ValidationError, match="not a repository name"):
        HubCache(tmp_path).blob(name, HASH)


@pytest.mark.parametrize("hash", ["", "../x", "abc", HASH + "0", HASH.upper(), "/" + HASH[1:], HASH[:40] + "\n"])
def test_hashes_that_are_none_are_refused(hash: str, tmp_path):
    for ask in (HubCache(tmp_path).blob, HubCache(tmp_path).snapshot):
        with pytest.raises(ValidationError, match="not a hash"):
            ask("org/repo", hash)


def test_a_link_is_renewed_when_the_file_changes(tmp_path):
    cache = HubCache(tmp_path)
    for etag in (HASH, HASH[::-1], HASH[::-1]):
        cache.blob("org/repo", etag).parent.mkdir(parents=True, exist_ok=True)
        cache.blob("org/repo", etag).write_text(etag)
        assert cache.link("org/repo", HASH[:40], "folder/name", etag).read_text() == etag
    assert len(list(cache.snapshot("org/repo", HASH[:40]).rglob("*"))) == 2


def unread(variant: Variant) -> GGUFFile:
    raise AssertionError(f"nobody needs the header of {variant.label}")


def repository(*labels: str) -> Repository:
    found = tuple(Variant(label, (RepoFile(f"m-{label}.gguf", 1),)) for label in labels)
    return Repository("org/repo", found, unread)


@pytest.mark.parametrize(
    ("labels", "taken"),
    [(("F16", "Q8_0", "Q4_K_M"), "Q4_K_M"), (("F16", "Q8_0"), "Q8_0"), (("F16", "Q2_K"), "F16")],
)
def test_who_names_no_quant_gets_the_usual_one(labels: tuple[str, ...], taken: str):
    assert wanted(repository(*labels), HubOrigin("org/repo"), usual).label == taken


def test_who_names_one_that_there_is_not_is_told_those_there_are():
    with pytest.raises(ModelNotFoundError, match="org/repo has no Q5_0") as caught:
        wanted(repository("Q8_0", "Q4_0"), HubOrigin("org/repo", quant="Q5_0"), usual)
    assert "It has Q8_0, Q4_0" in caught.value.resolution_steps[0]


def test_waits_double_up_to_a_bound_and_are_spread():
    assert [backoff(failures, 0.5, lambda: 1.0) for failures in (1, 2, 3, 20)] == [0.5, 1.0, 2.0, LONGEST_WAIT]
    assert backoff(3, 0.5, lambda: 0.0) == 1.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0.0), ("120", 120.0), ("Thu, 01 Jan 1970 00:00:30 GMT", 20.0), ("Thu, 01 Jan 1970 00:00:05 GMT", 0.0)]
    + [("", None), ("soon", None), ("-1", None), ("1.5", None), ("²", None)],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None):
    assert retry_after(text, now=10.0) == seconds


async def test_a_pace_is_shared_by_all_who_read():
    now = [0.0]
    pace = Throttle(parse_rates("1KB/s"), clock=lambda: now[0])
    await pace.take(10)
    now[0] = 1.0
    await pace.take(20)  # an idle second is no credit
    assert pace._due == pytest.approx(1.02)


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("0", {0: 0}),
        ("2", {0: 2_000_000}),
        ("0.5", {12: 500_000}),
        ("500 KB/s", {23: 500_000}),
        ("1MiB/s", {0: 1_048_576}),
        ("16mbit/s", {0: 2_000_000}),
        ("8-18 500KB/s, 5MB/s", {7: 5_000_000, 8: 500_000, 17: 500_000, 18: 5_000_000}),
        ("22:00-06:00 0, 1MB/s", {21: 1_000_000, 22: 0, 0: 0, 5: 0, 6: 1_000_000}),
        ("8-18 1MB/s", {7: 0, 8: 1_000_000}),
    ],
)
def test_a_rate_has_a_unit_and_perhaps_hours(text: str, rates: dict[int, int]):
    parsed = parse_rates(text)
    assert {hour: rate_at(parsed, hour) for hour in rates} == rates


@pytest.mark.parametrize("text", ["", "fast", "-1", "1 parsec/s", "8-25 1MB/s", "1MB/s,", "9" * 400, "1e9"])
def test_what_is_no_rate_is_refused(text: str):
    with pytest.raises(ValueError, match="is not a rate"):
        parse_rates(text)
