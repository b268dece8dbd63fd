"""By which names a pulled model is known beside its own."""

from dataclasses import replace
from pathlib import Path

import pytest

from oprel.core.models.known_names import resolve_in_repository, with_known_names
from oprel.core.models.manifests import Manifest
from oprel.core.names import ModelRef

OLD, NEW = "hf.co/old/m:Q4_0", "hf.co/new/m:Q4_0"
PAGE = "http://hub.example/new/m/blob/main/m-Q4_0.gguf"


def pulled(name: str, *also: str) -> Manifest:
    return Manifest(name=ModelRef.parse(name).name, weights=Path("/m-Q4_0.gguf"), source="hf.co/new/m", also=also)


@pytest.mark.parametrize(
    ("model", "requested", "present", "twin", "name", "also"),
    [
        (NEW, NEW, [], None, NEW, ()),
        (NEW, "hf.co/new/m", [], None, NEW, ()),  # the whole repository leads to it anyway
        (NEW, "new/m:q4_0", [], None, NEW, ()),
        (NEW, PAGE, [], None, NEW, (PAGE,)),
        (OLD, "old/m", [NEW], None, OLD, (NEW,)),
        (OLD, OLD, [NEW], pulled(OLD, NEW), OLD, (NEW,)),
        (OLD, OLD, [NEW], pulled(NEW), NEW, (OLD,)),  # it was pulled by its present name before
        (NEW, NEW, [], pulled(OLD, NEW), NEW, (OLD,)),  # it is now
        (OLD, PAGE, [NEW], pulled(NEW, OLD), NEW, (OLD, PAGE)),
        ("tiny:latest", "tiny", [NEW], None, "tiny:latest", (NEW,)),  # an alias
        ("tiny:latest", "tiny", [NEW], pulled("tiny", NEW), "tiny:latest", (NEW,)),
    ],
)
def test_names(model: str, requested: str, present: list[str], twin: Manifest | None, name: str, also: tuple[str, ...]):
    known = with_known_names(pulled(model), ModelRef.parse(requested), present, twin)
    assert (known.name, known.also) == (name, also)
    assert {ModelRef.parse(other).key for other in (*also, name)} == set(known.keys)


@pytest.mark.parametrize("name", ["hf.co/old/m", "old/m:q4_0", "hf.co/new/m:m-Q4_0.gguf", "new/m"])
def test_both_repositories_lead_to_a_model_that_moved(name: str):
    model = pulled(OLD, NEW)
    assert resolve_in_repository(ModelRef.parse(name), [model]) is model


def test_lm_studio_s_folders_are_repositories_and_other_folders_are_not():
    model = replace(pulled("pub/m:Q4_0"), provider="lmstudio")
    ref = ModelRef.parse("hf.co/pub/m:Q4_0")
    assert resolve_in_repository(ref, [model]) is model
    assert resolve_in_repository(ref, [replace(model, provider="ollama")]) is None
