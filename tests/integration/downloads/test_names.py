"""Names of models that are fetched, as users of Ollama and of the hub write them."""

import uuid

import pytest

from oprel.client_api import Client
from oprel.core.exceptions import ModelNotFoundError, OprelError, ValidationError
from tests.fixtures.hub_server import HubServer
from tests.integration.downloads.conftest import add_models


@pytest.fixture
def ownerless(hub: HubServer, tiny) -> str:
    """A model of the hub's first days, whose name has no owner."""
    name = f"gpt-{uuid.uuid4().hex[:8]}"
    add_models(hub, name, tiny)
    return name


def test_a_model_without_an_owner_is_fetched_from_the_hub(client: Client, ownerless: str) -> None:
    client.pull(f"hf.co/{ownerless}:Q8_0")
    names = {model.name for model in client.list().models}
    assert f"hf.co/{ownerless}:Q8_0" in names
    assert client.show(f"{ownerless}:q8_0").details.quantization_level


def test_a_name_alone_means_such_a_model_where_no_other_has_it(client: Client, ownerless: str) -> None:
    client.pull(ownerless)
    assert f"{ownerless}:latest" in {model.name for model in client.list().models}
    assert client.show(f"library/{ownerless}").details.format == "gguf"
    client.delete(f"registry.ollama.ai/library/{ownerless}:latest")
    with pytest.raises(ModelNotFoundError):
        client.show(ownerless)


def test_a_model_that_was_renamed_is_called_as_it_was_requested(client: Client, hub: HubServer, repo: str) -> None:
    old = f"gpt-{uuid.uuid4().hex[:8]}"
    hub.renamed[old] = repo
    client.pull(f"hf.co/{old}:Q8_0")
    assert client.show(f"hf.co/{old}:Q8_0").details.format == "gguf"
    assert client.show(f"hf.co/{repo}:q8_0").details.format == "gguf"  # its present name is known too
    assert client.generate(f"{repo}:Q8_0", "a", options={"num_predict": 1}).done
    client.pull(f"hf.co/{repo}:Q8_0")
    (model,) = (model for model in client.list().models if old in model.name or repo in model.name)
    assert (model.name, model.aliases) == (f"hf.co/{repo}:Q8_0", [f"hf.co/{old}:Q8_0"])
    client.pull(f"hf.co/{old}")
    assert client.show(f"hf.co/{old}").modified_at == client.show(f"hf.co/{repo}").modified_at
    client.delete(f"hf.co/{old}:Q8_0")
    with pytest.raises(ModelNotFoundError):
        client.show(f"hf.co/{repo}:Q8_0")


def test_the_page_of_a_model_is_a_name_of_it(client: Client, hub: HubServer, repo: str) -> None:
    page = f"{hub.url}/{repo}/blob/main/tiny-Q8_0.gguf"
    client.pull(page)
    assert client.show(page).details.format == "gguf"
    assert client.show(f"hf.co/{repo}:Q8_0").details.format == "gguf"
    assert [model.name for model in client.list().models if repo in model.name] == [f"hf.co/{repo}:Q8_0"]
    client.delete(page)
    with pytest.raises(ModelNotFoundError):
        client.show(f"hf.co/{repo}:Q8_0")


def test_a_name_that_no_source_has_is_not_found(client: Client) -> None:
    with pytest.raises(OprelError, match="does not exist"):
        client.pull("nonesuch-anywhere")


@pytest.mark.parametrize("name", ["library/", "a b", "x:y:z", "registry.ollama.ai/library/", "model@sha256:00", ""])
def test_what_is_no_name_is_refused_in_ollamas_words(client: Client, name: str) -> None:
    with pytest.raises(ValidationError, match="invalid model name|model is required"):
        client.pull(name)
