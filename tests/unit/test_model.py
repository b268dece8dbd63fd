"""The settings of an `oprel.Model`; what it does with them is in tests/integration/test_model.py."""

from typing import Any

import pytest

import oprel
from oprel.core.request_options import ALL_NAMES


def options_of(**arguments: Any) -> dict[str, Any]:
    """The options that go with each request; no daemon is needed to know them."""
    return oprel.Model("tiny", **arguments)._options


@pytest.mark.parametrize("name", ALL_NAMES)
def test_every_option_is_a_setting_under_each_of_its_names(name: str) -> None:
    assert options_of(**{name: 1}) == {ALL_NAMES[name]: 1}


def test_settings_of_the_first_oprel_package_have_ollamas_names_on_the_wire() -> None:
    settings = {"ctx_size": 4096, "n_gpu_layers": 0, "n_batch": 64, "n_threads": 2, "n_predict": 9}
    expected = {"num_ctx": 4096, "num_gpu": 0, "num_batch": 64, "num_thread": 2, "num_predict": 9}
    assert options_of(**settings) == expected == options_of(**expected)


def test_a_setting_counts_more_than_the_same_option() -> None:
    assert options_of(options={"num_ctx": 512, "seed": 1}, ctx_size=4096) == {"num_ctx": 4096, "seed": 1}


def test_a_setting_that_is_none_is_not_set() -> None:
    assert options_of(ctx_size=None) == {}


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("ctx_sise", "unknown option 'ctx_sise'; did you mean 'num_ctx'?"),
        ("temprature", "unknown option 'temprature'; did you mean 'temperature'?"),
        ("low_vram", "option 'low_vram' is not supported: Ollama has it, oprel's engines do not"),
        ("colour", "unknown option 'colour'"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest(name: str, complaint: str) -> None:
    with pytest.raises(oprel.ValidationError) as caught:
        options_of(**{name: 1})
    assert caught.value.message == complaint


def test_a_setting_under_two_names_is_refused() -> None:
    with pytest.raises(oprel.ValidationError, match="num_ctx is set twice: ctx_size is another name of it"):
        options_of(num_ctx=512, ctx_size=4096)


def test_options_of_a_dictionary_may_be_any() -> None:
    assert options_of(options={"mirostat": 1}) == {"mirostat": 1}
