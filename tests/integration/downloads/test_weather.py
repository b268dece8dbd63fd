"""Every fault of a server, at every step of a download, from every kind of source: the model, or a reason why not.

Each cell of the matrix is a model of its own. Cells that cannot be are named by `Fault.because`. The quick suite has a
part of the matrix in which each fault and each pair of a source and a step occurs; `long` has all of it.
"""

import asyncio
import re
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import pytest

from oprel.downloader import remote_header, sources
from oprel.downloader.hub import Hub
from oprel.downloader.registry import client as registry_client
from oprel.downloader.url import Urls
from oprel.server.downloads import fetcher
from tests.fixtures import weather as acts
from tests.fixtures.weather import ALWAYS, Fault, Source, Step, Weather
from tests.fixtures.weather_pulls import SMALL_LIMITS, check, downloads, shorten_waits, statuses

RANGED = (Step.BYTES, Step.HEADER)
NO_DIGEST = (Source.URL,)
DIGESTS = tuple(source for source in Source if source not in NO_DIGEST)
LOGIN_PAGE = "web page|no hub gives|token"

FAULTS = (
    Fault(name="429 with Retry-After", act=acts.status(429, Retry_After="0"), times=2),
    Fault(name="429 for an hour", act=acts.status(429, Retry_After="3600"), times=ALWAYS, error="asks to wait 3600 s"),
    Fault(name="503 once", act=acts.status(503)),
    Fault(name="503 always", act=acts.status(503), times=ALWAYS, error="HTTP 503"),
    Fault(name="502 twice", act=acts.status(502), times=2),
    Fault(name="520 of a CDN", act=acts.status(520)),
    Fault(name="408", act=acts.status(408)),
    Fault(name="reset once", act=lambda exchange, reply: exchange.reset()),
    Fault(
        name="reset always",
        act=lambda exchange, reply: exchange.reset(),
        times=ALWAYS,
        error="connection|reset|reached|read",
    ),
    Fault(name="closed without an answer", act=lambda exchange, reply: exchange.hang_up()),
    Fault(name="silent", act=lambda exchange, reply: exchange.wait_for_client(), waits=True),
    Fault(name="stalls in the answer", act=acts.stall, waits=True),
    Fault(name="cut", act=acts.cut, times=2),
    Fault(
        name="cut always",
        act=acts.cut,
        times=ALWAYS,
        error="incomplete|closed|reached|read",
        errors={Step.BYTES: "", (Source.URL, Step.LISTING): "", (Source.ARTIFACTS, Step.LISTING): ""},
    ),
    Fault(name="no length, chunked", act=acts.chunked, times=ALWAYS),
    Fault(name="no length, closed at the end", act=acts.until_close, times=ALWAYS),
    Fault(name="packed with gzip", act=acts.packed, times=ALWAYS),
    Fault(name="a login page", act=acts.page, times=ALWAYS, error=LOGIN_PAGE),
    Fault(name="a login page in chunks", act=acts.chunked_page, times=ALWAYS, error=LOGIN_PAGE),
    Fault(name="a redirect to itself", act=acts.redirect("{here}"), times=ALWAYS, error="redirect"),
    Fault(name="a redirect without an address", act=acts.redirect("http://[::1"), times=ALWAYS, error="redirect"),
    Fault(name="a redirect to another scheme", act=acts.redirect("ftp://127.0.0.1/x"), times=ALWAYS, error="redirect"),
    Fault(name="401 always", act=acts.status(401), times=ALWAYS, error="401|token|refuses|no repository"),
    Fault(
        name="401 once, of a token that expired",
        act=acts.status(401),
        steps=(Step.BYTES,),
        because="a token expires while files come",
    ),
    Fault(
        name="a length that is too small",
        act=acts.short,
        times=2,
        steps=RANGED,
        because="what is no piece of a file is then another answer",
    ),
    Fault(
        name="wrong bytes once",
        act=acts.flipped,
        steps=(Step.BYTES,),
        sources=DIGESTS,
        because="without a digest nothing tells",
        error="digest mismatch",
    ),
    Fault(
        name="403 once, of a signed address",
        act=acts.status(403),
        steps=(Step.BYTES,),
        because="only files have signed addresses",
    ),
    Fault(
        name="another ETag each time",
        again="without a digest a changed file is fetched from its beginning",
        act=acts.changed(ETag='"{turn}"'),
        times=ALWAYS,
        steps=RANGED,
        because="ETags are of files",
        errors={(Source.URL, Step.BYTES): "keeps changing"},
    ),
    Fault(name="no ETag", act=acts.changed(ETag=""), times=ALWAYS, steps=RANGED, because="ETags are of files"),
    Fault(name="ranges ignored always", act=acts.whole, times=ALWAYS, steps=RANGED, because="ranges are of files"),
    Fault(name="ranges ignored once", act=acts.whole, steps=RANGED, because="ranges are of files"),
    Fault(
        name="another range once",
        act=acts.wrong_range,
        again="other bytes than the requested ones are of no use",
        steps=RANGED,
        because="ranges are of files",
    ),
    Fault(
        name="another range always",
        act=acts.wrong_range,
        times=ALWAYS,
        steps=RANGED,
        because="ranges are of files",
        error="part of the file|in part",
    ),
    Fault(
        name="a range without Content-Range",
        again="bytes without a known place are of no use",
        act=acts.changed(Content_Range=""),
        steps=RANGED,
        because="ranges are of files",
    ),
    Fault(
        name="416 once", act=acts.status(416), steps=(Step.BYTES,), because="only pieces of files are beyond their end"
    ),
    Fault(
        name="wrong bytes always",
        act=acts.flipped,
        times=ALWAYS,
        steps=(Step.BYTES,),
        sources=DIGESTS,
        because="without a digest nothing tells",
        error="digest mismatch",
        again="wrong bytes are fetched again",
    ),
    Fault(
        name="HEAD refused",
        act=acts.status(405),
        steps=(Step.LISTING,),
        sources=(Source.MIRROR,),
        because="only mirrors are asked by HEAD",
    ),
)


def impossible(source: Source, step: Step, fault: Fault) -> str:
    """Why a cell cannot be; "" if it can."""
    if step is Step.LOGIN and source is not Source.REGISTRY:
        return "only registries ask for a login"
    if step is Step.HEADER and source in (Source.URL, Source.ARTIFACTS):
        return "a URL leaves no choice, so no header is read before the bytes"
    if step is Step.HEADER and source is Source.REGISTRY and fault.because:
        return "before its files a registry is asked for texts, without ranges"
    if source is Source.MIRROR and step is Step.LISTING and fault.act in (acts.cut, acts.stall, acts.short):
        return "an answer to HEAD has no body"
    return fault.because if step not in fault.steps or source not in fault.sources else ""


MATRIX = [cell for cell in product(Source, Step, FAULTS) if not impossible(*cell)]
SILENT = [cell for cell in MATRIX if cell[2].waits]


def part_of(matrix: Sequence[tuple[Source, Step, Fault]]) -> list[tuple[Source, Step, Fault]]:
    """Some cells, in which each fault occurs, and each pair of a source and a step."""
    of_faults = [[cell for cell in matrix if cell[2] is fault] for fault in FAULTS]
    part = [cells[number % len(cells)] for number, cells in enumerate(of_faults) if cells]
    others = (cell for cell in matrix if not any(cell[:2] == chosen[:2] for chosen in part))
    return part + list({cell[:2]: cell for cell in others}.values())


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    shorten_waits(monkeypatch)
    return monkeypatch


@pytest.fixture
def weather(tiny: Path) -> Iterator[Weather]:
    with Weather(tiny.read_bytes()).running() as running:
        yield running


async def test_a_part_of_the_matrix(weather: Weather, clocks: pytest.MonkeyPatch, tmp_path: Path) -> None:
    await check(weather, tmp_path, part_of([cell for cell in MATRIX if not cell[2].waits]))


@pytest.mark.long
@pytest.mark.parametrize("source", Source, ids=lambda source: source.value)
async def test_all_of_the_matrix(source: Source, weather: Weather, clocks: pytest.MonkeyPatch, tmp_path: Path) -> None:
    await check(weather, tmp_path, [cell for cell in MATRIX if cell[0] is source and not cell[2].waits])


@pytest.mark.long
async def test_servers_that_fall_silent(weather: Weather, clocks: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seconds = 2.0
    clocks.setattr(remote_header, "SECONDS", seconds)
    clocks.setattr(registry_client, "TIMEOUT", seconds)
    clocks.setattr(sources, "Hub", partial(Hub, seconds=seconds))
    clocks.setattr(sources, "Urls", partial(Urls, seconds=seconds, first_wait=0.001))
    limits = partial(SMALL_LIMITS, header_timeout=seconds, stall_timeout=seconds)
    clocks.setattr(fetcher, "Limits", limits)
    await check(weather, tmp_path, SILENT)


async def test_the_user_is_told_why_a_download_waits(
    weather: Weather, clocks: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fault = Fault(name="429", act=acts.status(429, Retry_After="1"))
    cells = [weather.add(*cell, fault) for cell in product(Source, Step) if not impossible(*cell, fault)]
    async with downloads(weather, tmp_path) as all_downloads:
        sent = await asyncio.gather(*(statuses(all_downloads, weather.model_name(cell)) for cell in cells))
    for cell, lines in zip(cells, sent, strict=True):
        assert any(re.match("waiting: .*HTTP 429.*; next attempt in 1 s", line) for line in lines), (cell.name, lines)
        assert lines[-1] == "success", cell.name
        weaker = [line for line in lines if "the server sent no SHA-256" in line]
        assert len(weaker) == (cell.source is Source.URL), (cell.name, lines)
