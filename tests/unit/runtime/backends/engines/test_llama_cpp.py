"""What llama-server is started with."""

from dataclasses import replace
from pathlib import Path

import pytest

from oprel.core.completion import LoadOptions, Mode
from oprel.core.config import Config
from oprel.runtime.backends.engines.llama_cpp import DISPENSABLE, SPINS, arguments, environment, resolve
from oprel.runtime.binaries.wheel import build_parser
from oprel.runtime.spec import EngineSpec, ModelFiles

NEW = frozenset(DISPENSABLE)  # the flags of a build that has them all
OLD = frozenset[str]()
PLAIN = EngineSpec(
    files=ModelFiles(Path("/models/tiny.gguf")),
    socket=Path("/run/engine-1.sock"),
    load=LoadOptions(num_ctx=512),
    mode=Mode.COMPLETION,
    pooling=None,
    parallel=4,
    cells=2048,
    slot_context=512,
    key_type="f16",
    value_type="f16",
    flash_attention="auto",
    cache_ram_mib=512,
)

EVERY_PART = ModelFiles(
    Path("/models/tiny.gguf"), Path("/models/eye.gguf"), (Path("/models/a.gguf"), Path("/models/b.gguf")), "{{ x }}"
)


def pairs(given: list[str]) -> dict[str, str]:
    """Value by flag; a switch has the flag behind it as its value."""
    return {flag: value for flag, value in zip(given, [*given[1:], ""], strict=True) if flag.startswith("--")}


@pytest.mark.parametrize("exported", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY", ""])
def test_threads_wait_in_a_loop_as_long_as_the_user_exported(exported: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    if exported:
        monkeypatch.setenv(exported, "7")
    assert environment(PLAIN) == ({} if exported else {"GOMP_SPINCOUNT": str(SPINS)})


def test_prompts_may_get_other_threads_than_a_token() -> None:
    spec = replace(PLAIN, load=LoadOptions(num_thread=1), batch_threads=2)
    given = arguments(spec, NEW)
    assert (pairs(given)["--threads"], pairs(given)["--threads-batch"]) == ("1", "2")
    options = build_parser().parse_args(given)
    assert (options.threads, options.threads_batch) == (1, 2)


def test_the_plain_start() -> None:
    given = arguments(PLAIN, NEW)
    valued, switches = given[:-5], given[-5:]
    assert dict(zip(valued[::2], valued[1::2], strict=True)) == {
        "--model": "/models/tiny.gguf",
        "--host": "/run/engine-1.sock",
        "--port": "0",
        "--parallel": "4",
        "--ctx-size": "2048",
        "--kv-unified-per-slot": "512",
        "--cache-type-k": "f16",
        "--cache-type-v": "f16",
        "--flash-attn": "auto",
        "--cache-ram": "512",
        "--ctx-checkpoints": "0",
        "--log-verbosity": "4",
    }
    assert switches == ["--kv-unified", "--no-cache-idle-slots", "--context-shift", "--offline", "--no-ui"]


@pytest.mark.parametrize(
    ("load", "flag", "value"),
    [
        (LoadOptions(num_batch=64), "--batch-size", "64"),
        (LoadOptions(num_gpu=7), "--n-gpu-layers", "7"),
        (LoadOptions(main_gpu=0), "--main-gpu", "0"),
        (LoadOptions(num_thread=2), "--threads", "2"),
    ],
)
def test_an_option_that_is_given_is_passed(load: LoadOptions, flag: str, value: str) -> None:
    assert flag not in arguments(PLAIN, NEW)
    assert pairs(arguments(replace(PLAIN, load=replace(load, num_ctx=512)), NEW))[flag] == value


def test_an_engine_without_layers_on_a_gpu_leaves_it_alone() -> None:
    """With `-ngl 0` alone it would compute large batches and images there, and fail where its memory is full."""
    eyes = replace(PLAIN, files=EVERY_PART, one_gpu=True, load=LoadOptions(num_ctx=512, num_gpu=0, main_gpu=1))
    given = arguments(eyes, NEW | {"--device"})
    assert pairs(given)["--device"] == "none" and "--no-mmproj-offload" in given
    assert not {"--n-gpu-layers", "--main-gpu", "--split-mode"} & set(given)
    assert pairs(arguments(replace(PLAIN, load=LoadOptions(num_ctx=512, num_gpu=0)), OLD))["--n-gpu-layers"] == "0"


def test_layers_and_experts_are_placed_where_the_engines_own_choice_failed() -> None:
    placed = replace(PLAIN, load=LoadOptions(num_ctx=512, num_gpu=33), cpu_experts=7, split=(3e9, 1e9))
    given = pairs(arguments(placed, NEW))
    assert (given["--n-gpu-layers"], given["--n-cpu-moe"]) == ("33", "7")
    assert given["--tensor-split"] == "3000000000,1000000000"


@pytest.mark.parametrize(("use_mmap", "refused"), [(None, False), (True, False), (False, True)])
def test_mapping_the_file_is_only_ever_switched_off(use_mmap: bool | None, refused: bool) -> None:
    given = arguments(replace(PLAIN, load=LoadOptions(num_ctx=512, use_mmap=use_mmap)), NEW)
    assert ("--no-mmap" in given) is refused


def test_an_embedding_engine_says_so() -> None:
    whole = replace(PLAIN, mode=Mode.EMBEDDING, pooling="mean", ubatch=512)
    given = pairs(arguments(whole, NEW))
    assert (given["--ubatch-size"], given["--pooling"]) == ("512", "mean")
    assert "--embedding" in given
    assert "--context-shift" not in given
    assert not {"--ubatch-size", "--pooling", "--embedding"} & set(arguments(PLAIN, NEW))


def test_what_was_decided_is_passed() -> None:
    decided = replace(PLAIN, unified=False, swa_full=True, one_gpu=True, checkpoints=3, key_type="q8_0")
    given = arguments(decided, NEW)
    assert {"--swa-full"} <= set(given) and not {"--kv-unified", "--kv-unified-per-slot"} & set(given)
    found = pairs(given)
    assert (found["--split-mode"], found["--ctx-checkpoints"], found["--cache-type-k"]) == ("none", "3", "q8_0")
    assert (found["--cache-type-v"], "--n-gpu-layers" in found) == ("f16", False)


def test_old_builds_are_spared_what_they_do_not_know() -> None:
    given = arguments(PLAIN, OLD)
    assert not DISPENSABLE.keys() & set(given)
    assert "512" not in given, "the value of a flag that was left out"
    assert given[-1] == "--kv-unified"


def test_a_flag_is_left_out_alone() -> None:
    without_cache = arguments(PLAIN, NEW - {"--cache-ram"})
    assert [item for item in arguments(PLAIN, NEW) if item not in without_cache] == ["--cache-ram"]
    assert pairs(without_cache)["--kv-unified-per-slot"] == "512"


def test_the_wheels_engine_knows_every_flag() -> None:
    full = LoadOptions(num_ctx=512, num_batch=64, num_gpu=1, main_gpu=0, num_thread=2, use_mmap=False)
    given = arguments(replace(PLAIN, files=EVERY_PART, load=full, mode=Mode.EMBEDDING, pooling="mean"), NEW)
    options = build_parser().parse_args(given)
    assert (options.model, options.host, options.ctx_size) == ("/models/tiny.gguf", "/run/engine-1.sock", 2048)
    assert (options.mmap, options.ui, options.embedding, options.kv_unified) == (False, False, True, True)


def test_every_part_of_a_model_is_passed() -> None:
    options = build_parser().parse_args(arguments(replace(PLAIN, files=EVERY_PART), NEW))
    assert (options.mmproj, options.lora) == ("/models/eye.gguf", ["/models/a.gguf", "/models/b.gguf"])
    assert (options.chat_template_file, options.context_shift) == ("/run/engine-1.jinja", True)


def test_images_are_encoded_on_the_cpu_where_memory_is_short() -> None:
    given = arguments(replace(PLAIN, files=EVERY_PART, projector_on_cpu=True), NEW)
    assert not build_parser().parse_args(given).mmproj_offload


def test_an_engine_that_scores_ranks() -> None:
    assert pairs(arguments(replace(PLAIN, mode=Mode.RERANK, pooling="rank"), NEW))["--pooling"] == "rank"


CONFIGURED = Config(ctx_size=4096, batch_size=256, n_gpu_layers=3, n_threads=2)


@pytest.mark.parametrize(
    ("asked", "config", "trained_ctx", "expected"),
    [
        (LoadOptions(), Config(), None, LoadOptions()),
        (LoadOptions(), CONFIGURED, None, LoadOptions(num_ctx=4096, num_batch=256, num_gpu=3, num_thread=2)),
        (
            LoadOptions(num_gpu=0, num_batch=8),
            CONFIGURED,
            None,
            LoadOptions(num_ctx=4096, num_batch=8, num_gpu=0, num_thread=2),
        ),
        (LoadOptions(main_gpu=1, use_mmap=False), Config(), None, LoadOptions(main_gpu=1, use_mmap=False)),
        (LoadOptions(num_ctx=8192), Config(), 32_768, LoadOptions(num_ctx=8192)),
        (LoadOptions(num_ctx=8192), Config(), 2048, LoadOptions(num_ctx=2048)),
        (LoadOptions(), Config(ctx_size=4096), 2048, LoadOptions(num_ctx=2048)),
        (LoadOptions(), Config(n_gpu_layers=0), None, LoadOptions(num_gpu=0)),
    ],
)
def test_what_was_asked_counts_more_than_what_is_configured(
    asked: LoadOptions, config: Config, trained_ctx: int | None, expected: LoadOptions
) -> None:
    assert resolve(asked, config.for_model("any"), trained_ctx) == expected


@pytest.mark.parametrize(
    ("asked", "running", "serves"),
    [
        (LoadOptions(), LoadOptions(num_ctx=512, num_gpu=1), True),
        (LoadOptions(num_ctx=512), LoadOptions(num_ctx=512), True),
        (LoadOptions(num_ctx=256), LoadOptions(num_ctx=512), True),
        (LoadOptions(num_ctx=513), LoadOptions(num_ctx=512), False),
        (LoadOptions(num_ctx=512), LoadOptions(), False),
        (LoadOptions(num_gpu=0), LoadOptions(num_gpu=0), True),
        (LoadOptions(num_gpu=0), LoadOptions(), False),
        (LoadOptions(num_gpu=1), LoadOptions(num_gpu=2), True),
        (LoadOptions(use_mmap=False), LoadOptions(use_mmap=True), False),
    ],
)
def test_a_running_engine_serves_who_asks_for_no_more(asked: LoadOptions, running: LoadOptions, serves: bool) -> None:
    assert asked.served_by(running) is serves
