"""llama-server's flags in front of the xllamacpp wheel."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import xllamacpp

from oprel.runtime.binaries import wheel
from tests.conftest import DEADLINE


def params(*arguments: str) -> Any:
    """llama.cpp's parameters for these flags."""
    return wheel.to_params(xllamacpp, wheel.build_parser().parse_args(["--model", "/m.gguf", *arguments]))


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    # A process of its own: it blocks signals, and a broken extension must not break the tests.
    command = [sys.executable, "-P", "-m", wheel.__name__, *arguments]
    return subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=DEADLINE)


def test_the_defaults_are_llama_servers() -> None:
    given = params()
    assert (given.model.path, set(given.model_alias)) == ("/m.gguf", set())
    assert (list(given.hostnames), given.port) == (["127.0.0.1"], 0)
    assert (given.n_ctx, given.n_batch, given.n_ubatch, given.n_parallel) == (0, 2048, 512, 4)
    assert (given.n_gpu_layers, given.main_gpu, given.cpuparams.n_threads) == (-1, 0, -1)
    assert (given.kv_unified, given.embedding, given.offline, given.ui) == (False, False, False, True)
    assert given.cache_ram_mib == 8192
    assert (given.mmproj.path, list(given.lora_adapters), given.chat_template) == ("", [], "")


def test_numbers_and_texts_reach_the_engine() -> None:
    given = params(
        *"--host /run/x.sock --port 1 -np 2 -c 64 -b 32 -ub 16 -ngl 3 -mg 1 -t 5 -a tiny --cache-ram 9".split()
    )
    assert (list(given.hostnames), given.port, set(given.model_alias)) == (["/run/x.sock"], 1, {"tiny"})
    assert (given.n_parallel, given.n_ctx, given.n_batch, given.n_ubatch) == (2, 64, 32, 16)
    assert (given.n_gpu_layers, given.main_gpu, given.cpuparams.n_threads, given.cache_ram_mib) == (3, 1, 5, 9)


def test_switches_reach_the_engine() -> None:
    given = params("--kv-unified", "--embedding", "--offline", "--no-ui")
    assert (given.kv_unified, given.embedding, given.offline, given.ui) == (True, True, True, False)


def test_the_parts_of_a_model_reach_the_engine(tmp_path: Path) -> None:
    template = tmp_path / "chat.jinja"
    template.write_text("{{ messages }} – ü", encoding="utf-8")
    given = params(*f"--mmproj /eyes.gguf --lora /a.gguf --lora /b.gguf --chat-template-file {template}".split())
    assert given.mmproj.path == "/eyes.gguf"
    assert [(adapter.path, adapter.scale) for adapter in given.lora_adapters] == [("/a.gguf", 1.0), ("/b.gguf", 1.0)]
    assert given.chat_template == "{{ messages }} – ü"


def test_the_context_shifts_only_when_told() -> None:
    assert (params().ctx_shift, params("--context-shift").ctx_shift) == (False, True)
    assert params("--context-shift", "--no-context-shift").ctx_shift is False


def test_a_length_per_slot_sizes_the_pool() -> None:
    assert params("--parallel", "3", "--kv-unified-per-slot", "512").n_ctx == 1536
    both = params("--parallel", "3", "--kv-unified-per-slot", "512", "--ctx-size", "600")
    assert (both.n_ctx, both.kv_unified_per_slot) == (600, 512)


def test_the_file_is_mapped_unless_told_otherwise() -> None:
    modes = xllamacpp.llama_load_mode
    assert params().load_mode == xllamacpp.CommonParams().load_mode
    assert params("--no-mmap").load_mode == modes.LLAMA_LOAD_MODE_NONE != params("--mmap").load_mode


@pytest.mark.parametrize("name", wheel.KV_TYPES)
def test_every_cache_type_is_known(name: str) -> None:
    given = params("--cache-type-k", name, "-ctv", "f32")
    types = xllamacpp.ggml_type
    assert (given.cache_type_k, given.cache_type_v) == (types[f"GGML_TYPE_{name.upper()}"], types.GGML_TYPE_F32)


@pytest.mark.parametrize(("value", "name"), [("auto", "AUTO"), ("on", "ENABLED"), ("off", "DISABLED")])
def test_flash_attention_is_passed(value: str, name: str) -> None:
    types = xllamacpp.llama_flash_attn_type
    assert params("--flash-attn", value).flash_attn_type == types[f"LLAMA_FLASH_ATTN_TYPE_{name}"]


@pytest.mark.parametrize("name", ["none", "mean", "cls", "last", "rank"])
def test_pooling_is_passed(name: str) -> None:
    types = xllamacpp.llama_pooling_type
    assert params("--pooling", name).pooling_type == types[f"LLAMA_POOLING_TYPE_{name.upper()}"]
    assert params().pooling_type == types.LLAMA_POOLING_TYPE_UNSPECIFIED


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--nonesuch"], "unrecognized arguments: --nonesuch"),
        (["--ctx", "5"], "unrecognized arguments: --ctx 5"),
        (["--ctx-size", "many"], "invalid int value: 'many'"),
        (["--flash-attn", "maybe"], "invalid choice: 'maybe'"),
    ],
)
def test_a_flag_it_does_not_know_ends_it(
    capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        wheel.main(arguments)
    assert caught.value.code == 2
    assert complaint in capsys.readouterr().err


def test_it_tells_its_version() -> None:
    ended = run("--version")
    assert (ended.returncode, ended.stdout) == (0, f"version: xllamacpp {xllamacpp.__version__}\n")


def test_it_needs_a_model() -> None:
    ended = run("--port", "0")
    assert ended.returncode == 2
    assert "--model is required" in ended.stderr


def test_an_extension_that_cannot_be_loaded_is_told_as_the_loader_does(tmp_path: Path) -> None:
    (tmp_path / "xllamacpp.py").write_text("raise ImportError('libcudart.so.12: cannot open shared object file')")
    ended = run("--version", PYTHONPATH=str(tmp_path))
    assert ended.returncode == wheel.MISSING_LIBRARY
    assert ended.stderr.startswith("error while loading shared libraries: libcudart.so.12: cannot open")


def test_a_file_that_is_no_model_ends_it(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUX")
    ended = run("--model", str(tmp_path / "x.gguf"), "--host", str(tmp_path / "x.sock"))
    assert ended.returncode == 1
    assert "failed to load model" in ended.stderr
