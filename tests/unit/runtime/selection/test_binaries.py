"""What is said of a model that no engine of this machine serves."""

import pytest

from oprel.core.completion import Mode
from oprel.core.config import Config
from oprel.core.exceptions import NoEngineError
from oprel.formats.model_info import ModelInfo
from oprel.runtime.binaries.engine_binaries import EngineBinaries
from oprel.runtime.selection.binaries import DETAILS, BinaryCatalog


@pytest.mark.parametrize(
    ("quantization", "mode", "steps"),
    [
        ("BF16", Mode.COMPLETION, ("vLLM can. To install it: oprel engines install vllm", DETAILS)),
        ("BF16", Mode.EMBEDDING, ("vLLM can. To install it: oprel engines install vllm", DETAILS)),
        (
            "FP8",
            Mode.COMPLETION,
            (
                "vLLM: it runs no FP8 weights on a CPU.",
                "transformers serve: it runs no FP8 weights on a CPU.",
                DETAILS,
            ),
        ),
        ("FP8", Mode.RERANK, ("vLLM: it runs no FP8 weights on a CPU.", DETAILS)),
    ],
)
async def test_the_best_engine_to_get_or_why_none_can(
    config: Config, monkeypatch: pytest.MonkeyPatch, quantization: str, mode: Mode, steps: tuple[str, ...]
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    info = ModelInfo(format="safetensors", architecture="qwen2", quantization=quantization, size_bytes=10**6)
    with pytest.raises(NoEngineError, match=rf"qwen2 in safetensors, {quantization}, for {mode.value}") as caught:
        await BinaryCatalog(config, EngineBinaries([])).backends(info, mode, "")
    assert caught.value.resolution_steps == steps
