"""What is offered of a repository whose names and headers disagree."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from oprel.core.exceptions import ModelNotFoundError, UnsupportedError
from oprel.core.names import HubOrigin, ModelRef, hub_origin
from oprel.downloader.cache import HubCache
from oprel.downloader.hub import Hub
from oprel.formats.headers.remote import START_STEPS
from tests.fixtures.gguf_factory import Shape
from tests.fixtures.gguf_parts import write_adapter, write_projector
from tests.fixtures.hub_server import HubServer, Mode

MODEL = "b-Q8_0.gguf"


@pytest.fixture
def server(tmp_path: Path, tiny: Path) -> Iterator[HubServer]:
    folder = tmp_path / "served/org/mixed"
    folder.mkdir(parents=True)
    for name in (MODEL, "mmproj-is-a-model.gguf", "modèle-Q2_K.gguf"):
        (folder / name).write_bytes(tiny.read_bytes())
    write_adapter(folder / "a-Q4_K_M.gguf", "sun")
    write_projector(folder / "b-Q6_K.gguf")
    write_projector(folder / "mmproj-one-F16.gguf", width=32)
    write_projector(folder / "mmproj-two-F16.gguf", width=Shape().width)
    with HubServer(tmp_path / "served").running() as running:
        yield running


@pytest.fixture
def hub(server: HubServer, tmp_path: Path) -> Hub:
    return Hub(server.url, HubCache(tmp_path / "cache"), seconds=5.0)


async def names(hub: Hub, **origin: str) -> list[str]:
    offer = await hub.offer(HubOrigin("org/mixed", **origin))
    return [target.file.name for target in offer.targets]


async def test_headers_decide_what_is_pulled_and_which_projector_fits(hub: Hub, server: HubServer) -> None:
    assert await names(hub) == [MODEL, "mmproj-two-F16.gguf"]
    assert all(count <= START_STEPS[0] for count in server.sent.values())


async def test_a_quantization_that_another_kind_of_file_has_is_refused_with_those_there_are(hub: Hub) -> None:
    with pytest.raises(ModelNotFoundError, match=r"no model Q4_K_M: a-Q4_K_M\.gguf is an adapter") as caught:
        await names(hub, quant="Q4_K_M")
    assert "Q8_0" in caught.value.resolution_steps[0]
    with pytest.raises(UnsupportedError, match=r"b-Q6_K\.gguf of org/mixed is a projector"):
        await names(hub, file="b-Q6_K.gguf")


@pytest.mark.parametrize("file", ["mmproj-is-a-model.gguf", "MMPROJ-IS-A-MODEL.gguf"])
async def test_a_file_is_taken_for_what_it_is_however_it_is_called(hub: Hub, file: str) -> None:
    assert (await names(hub, file=file))[0] == "mmproj-is-a-model.gguf"


@pytest.mark.parametrize("accent", ["è", "e\N{COMBINING GRAVE ACCENT}"])
async def test_a_name_of_another_script_is_found_in_either_spelling(hub: Hub, accent: str) -> None:
    origin = hub_origin(ModelRef.parse(f"hf.co/org/mixed:mod{accent}le-Q2_K.gguf"))
    assert origin and (await names(hub, file=origin.file))[0] == "modèle-Q2_K.gguf"


async def test_a_server_that_sends_no_ranges_is_asked_all_the_same(hub: Hub, server: HubServer) -> None:
    server.behaviour.mode = Mode.NO_RANGES
    assert (await names(hub))[0] == MODEL


async def test_names_are_believed_where_no_header_can_be_read(hub: Hub, server: HubServer) -> None:
    server.behaviour.mode = Mode.DOWN
    assert (await names(hub))[0] == "a-Q4_K_M.gguf"
