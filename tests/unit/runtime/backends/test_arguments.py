"""What engines other than llama-server are started with: as their own parsers take it, and what it says."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from oprel.core.completion import LoadOptions, Mode
from oprel.runtime.backends.registry import named
from oprel.runtime.spec import EngineSpec, ModelFiles
from tests.fixtures.fake_openai_engine import ENGINES

TYPICAL = EngineSpec(
    files=ModelFiles(Path("/models/llama")),
    socket=Path("/run/engine-1.sock"),
    load=LoadOptions(num_ctx=4000),
    mode=Mode.COMPLETION,
    pooling=None,
    parallel=1,
    cells=4000,
    slot_context=4000,
    key_type="f16",
    value_type="f16",
    flash_attention="auto",
    cache_ram_mib=512,
    kv_bytes=128 * 1024**2,
)
RICH = replace(
    TYPICAL,
    files=ModelFiles(Path("/models/llama"), None, (Path("/models/a"),), "{{ x }}"),
    load=LoadOptions(num_ctx=4000, num_batch=256, num_gpu=0),
    parallel=4,
    key_type="q8_0",
    gpus=2,
    port=8123,
    key="secret",
)
SPECS = {"typical": TYPICAL, "rich": RICH}
TABBY = {"model_dir": "/models", "model_name": "llama", "max_seq_len": "4000", "disable_auth": "true", "port": "0"}
TGI = {"model_id": "/models/llama", "hostname": "127.0.0.1", "max_input_tokens": "3999", "max_total_tokens": "4000"}
SAID: Mapping[str, Mapping[str, Mapping[str, object]]] = {
    "vllm": {
        "typical": {"uds": "/run/engine-1.sock", "max_model_len": "4000", "served_model_name": "oprel"},
        "rich": {"tensor_parallel_size": "2", "kv_cache_dtype": "fp8", "lora_modules": "oprel=/models/a"},
    },
    "transformers": {"typical": {"model": "/models/llama", "device": "auto"}, "rich": {"device": "cpu"}},
    "exllama": {
        "typical": {**TABBY, "cache_size": "4096", "cache_mode": "FP16", "max_batch_size": "1"},
        "rich": {**TABBY, "cache_size": "16128", "cache_mode": "8,8", "max_batch_size": "4"},
    },
    "mlc": {
        "typical": {
            "mode": "server",
            "overrides": "context_window_size=4000;max_num_sequence=1;max_total_seq_length=4000",
        },
        "rich": {
            "overrides": "context_window_size=4000;max_num_sequence=4;max_total_seq_length=16000;prefill_chunk_size=256"
        },
    },
    "mlx": {
        "typical": {"model": "/models/llama", "adapter_path": None, "chat_template": None},
        "rich": {"adapter_path": "/models/a", "chat_template": "{{ x }}"},
    },
    "tgi": {
        "typical": {**TGI, "max_batch_total_tokens": "4000", "max_batch_prefill_tokens": "4000"},
        "rich": {**TGI, "max_batch_total_tokens": "16000", "max_concurrent_requests": "4", "port": "8123"},
    },
}


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in SAID for kind in SPECS])
def test_the_engines_own_parser_takes_it(name: str, kind: str) -> None:
    parsed = vars(ENGINES[name].parser().parse_args(named(name).arguments(SPECS[kind], frozenset())))
    said = SAID[name][kind]
    assert {word: parsed[word] for word in said} == said


@pytest.mark.parametrize("name", SAID)
def test_the_users_own_arguments_come_last(name: str) -> None:
    given = named(name).arguments(replace(TYPICAL, extra_arguments=("--its-own", "7")), frozenset())
    assert given[-2:] == ["--its-own", "7"]


def test_a_key_is_no_argument_which_everybody_could_see() -> None:
    assert "secret" not in named("tgi").arguments(RICH, frozenset())
    assert named("tgi").environment(RICH)["API_KEY"] == "secret"
