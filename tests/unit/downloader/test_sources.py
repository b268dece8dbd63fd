"""Why a model cannot be fetched: every cause is kept, the likeliest first, wherever it was looked for."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from oprel.core.config import Config
from oprel.core.exceptions import DownloadError, ModelNotFoundError, OprelError, UnsupportedError
from oprel.core.names import ModelRef
from oprel.downloader.offers import NoSuchVariant
from oprel.downloader.sources import Sources, likeliest
from tests.conftest import NOWHERE
from tests.fixtures.hub_server import HubServer

UNREACHABLE = "the registry registry.ollama.ai cannot be reached: "
NOT_THERE = "the registry registry.ollama.ai has no "
NO_QUANT = "org/model has no Q9_9"
NO_REPOSITORY = "there is no repository org/other at "
NO_GGUF = "org/plain has no GGUF files"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    folder = tmp_path_factory.mktemp("served")
    for name in ("org/model/m-Q4_K_M.gguf", "org/plain/pytorch_model.bin", "old/m.bin"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(b"x")
    with HubServer(folder).running() as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


def sources(client: httpx.AsyncClient, home: Path, hub: str, registry: str) -> Sources:
    return Sources(Config(home=str(home), hf_endpoint=hub, ollama_registry=registry), client)


async def failure(found: Sources, name: str) -> OprelError:
    with pytest.raises(OprelError) as caught:
        await found.find(ModelRef.parse(name))
    return caught.value


@pytest.mark.parametrize(
    ("name", "registry_answers", "kind", "message", "also"),
    [
        # The hub has the repository: what is wrong with it comes before all that another source says.
        ("org/model:q9_9", True, ModelNotFoundError, NO_QUANT, NOT_THERE),
        ("org/model:q9_9", False, ModelNotFoundError, NO_QUANT, UNREACHABLE),
        ("hf.co/org/model:q9_9", False, ModelNotFoundError, NO_QUANT, ""),
        ("hf.co/org/model:no.gguf", False, ModelNotFoundError, "org/model has no model no.gguf", ""),
        ("org/plain", False, UnsupportedError, NO_GGUF, ""),
        ("old", True, UnsupportedError, "old has no GGUF files", NOT_THERE),
        ("old", False, UnsupportedError, "old has no GGUF files", UNREACHABLE),
        # Nobody has it: the source that the name means first.
        ("org/other", True, ModelNotFoundError, NO_REPOSITORY, NOT_THERE),
        ("org/other", False, ModelNotFoundError, NO_REPOSITORY, UNREACHABLE),
        ("other", True, ModelNotFoundError, NOT_THERE, "there is no repository other at "),
        ("other", False, DownloadError, UNREACHABLE, "there is no repository other at "),
        # A family of which oprel knows the sizes.
        ("qwen3:7b", True, ModelNotFoundError, "qwen3 has no 7b", NOT_THERE),
        ("qwen3:7b", False, ModelNotFoundError, "qwen3 has no 7b", UNREACHABLE),
        ("qwen3:q9_9", False, ModelNotFoundError, "qwen3 has no q9_9", UNREACHABLE),
        ("registry.ollama.ai/library/m", False, DownloadError, UNREACHABLE, ""),
    ],
)
async def test_the_likeliest_cause_comes_first_and_the_others_are_kept(
    server: HubServer,
    client: httpx.AsyncClient,
    tmp_path: Path,
    name: str,
    registry_answers: bool,
    kind: type[OprelError],
    message: str,
    also: str,
) -> None:
    error = await failure(sources(client, tmp_path, server.url, server.url if registry_answers else NOWHERE), name)
    assert error.message.startswith(message)
    assert isinstance(error, kind)
    others = [step for step in error.resolution_steps if step.startswith("Also: ")]
    assert [step.startswith(f"Also: {also}") for step in others][:1] == [True] * bool(also)
    assert len(error.resolution_steps) > len(others)


async def test_a_hub_that_cannot_be_reached_is_told_with_the_registry(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    alone = await failure(sources(client, tmp_path, NOWHERE, NOWHERE), "org/model:q4_k_m")
    assert alone.message.startswith(f"{NOWHERE} cannot be reached")  # the registry's org/model may be another one
    both = await failure(sources(client, tmp_path, NOWHERE, NOWHERE), "other")
    assert both.message.startswith(UNREACHABLE)
    assert both.resolution_steps[-1].startswith(f"Also: {NOWHERE} cannot be reached")


def test_a_single_cause_stays_as_it_is() -> None:
    error = NoSuchVariant("it has none", "Take another.")
    assert likeliest([error]) is error
    assert likeliest([]) is None
