"""Which engines a model of each format gets on each kind of machine, in which order and why."""

from collections.abc import Mapping

import pytest

from oprel.formats.model_info import Evidence, Format, ModelInfo
from oprel.runtime.backends.registry import backends
from oprel.runtime.selection.routing import EngineCandidate, Route, route
from oprel.telemetry.hardware.devices import CPU, GPU, Memory, Vendor
from oprel.telemetry.hardware.probing import Hardware

GIB = 1024**3


def machine(vendor: Vendor | None = None, gpu: int = 24, free: int = 23, memory: int = 64) -> Hardware:
    """`gpu`, `free` and `memory` in GiB."""
    gpus = (GPU(vendor=vendor, name="a GPU", total_bytes=gpu * GIB, free_bytes=free * GIB),) if vendor else ()
    return Hardware(CPU(), Memory(total_bytes=memory * GIB, available_bytes=(memory - 4) * GIB), gpus)


def model(format: Format = "safetensors", quantization: str = "BF16", gib: float = 4, **others: object) -> ModelInfo:
    return ModelInfo(
        format=format,
        architecture="llama",
        quantization=quantization,
        size_bytes=round(gib * GIB),
        **others,  # type: ignore[arg-type]
    )


def routes(info: ModelInfo, hardware: Hardware, *missing: str, chosen: str = "") -> tuple[Route, ...]:
    engines = [EngineCandidate(backend, backend.name not in missing) for backend in backends().values()]
    return route(info, hardware, engines, chosen)


def names(found: tuple[Route, ...]) -> str:
    return " ".join(one.backend.name for one in found if one.score)


MACHINES: Mapping[str, Hardware] = {
    "cpu": machine(),
    **{vendor: machine(vendor) for vendor in ("nvidia", "amd", "intel", "apple")},
}
MODELS = {
    "gguf": model("gguf", "Q4_K_M"),
    "safetensors": model(),
    "pytorch": model("pytorch", "F16"),
    "gptq": model(quantization="GPTQ-4bit"),
    "fp8": model(quantization="FP8"),
    "bitsandbytes": model(quantization="BITSANDBYTES-4bit"),
    "exl2": model(quantization="EXL2"),
    "mlx": model(quantization="MLX-4bit"),
    "mlc": model("mlc", "q4f16_1"),
}
MATRIX = {
    "gguf": dict.fromkeys(MACHINES, "llama.cpp"),
    "safetensors": {
        "cpu": "vllm transformers",
        "nvidia": "vllm tgi transformers",
        "amd": "vllm tgi transformers",
        "intel": "vllm tgi transformers",
        "apple": "mlx transformers vllm",
    },
    "pytorch": {"apple": "transformers vllm", **dict.fromkeys(("cpu", "nvidia", "amd", "intel"), "vllm transformers")},
    "gptq": {
        "cpu": "vllm",
        "nvidia": "vllm tgi transformers",
        "amd": "vllm tgi transformers",
        "intel": "vllm tgi transformers",
        "apple": "transformers vllm",
    },
    "fp8": {
        "cpu": "",
        "nvidia": "vllm tgi transformers",
        "amd": "vllm tgi transformers",
        "intel": "vllm tgi transformers",
        "apple": "transformers",
    },
    "bitsandbytes": {
        "cpu": "",
        "nvidia": "vllm tgi transformers",
        "amd": "vllm tgi transformers",
        "intel": "vllm tgi transformers",
        "apple": "transformers",
    },
    "exl2": {"cpu": "", "nvidia": "exllama tgi", "amd": "tgi", "intel": "tgi", "apple": ""},
    "mlx": {"cpu": "", "nvidia": "", "amd": "", "intel": "", "apple": "mlx"},
    "mlc": {"cpu": "", "nvidia": "mlc", "amd": "mlc", "intel": "mlc", "apple": "mlc"},
}
CELLS = [(format, place) for format in MODELS for place in MACHINES]


@pytest.mark.parametrize(("format", "place"), CELLS, ids=[" on ".join(cell) for cell in CELLS])
def test_the_matrix_of_formats_engines_and_machines(format: str, place: str) -> None:
    found = routes(MODELS[format], MACHINES[place])
    assert names(found) == MATRIX[format][place]
    assert len(found) == len(backends())
    assert all(0 <= one.score <= 1 and one.reasons for one in found)
    assert all((one.accelerator is None) == (one.score == 0) for one in found)


def reasons(found: tuple[Route, ...], name: str) -> str:
    return "; ".join(next(one.reasons for one in found if one.backend.name == name))


def test_why_not_is_told() -> None:
    found = routes(model(quantization="FP8"), machine())
    assert reasons(found, "llama.cpp") == "it reads gguf, not safetensors"
    assert reasons(found, "exllama") == "it runs on nvidia only"
    assert reasons(found, "vllm") == "it runs no FP8 weights on a CPU"


def test_an_engine_that_is_here_comes_before_a_better_one_that_is_not() -> None:
    found = routes(model(), machine("nvidia"), "vllm", "tgi")
    assert names(found) == "transformers vllm tgi"
    assert found[0].is_open and not found[1].is_open
    assert reasons(found, "vllm").endswith("it is not installed")


def test_the_users_choice_wins_where_it_can_serve() -> None:
    found = routes(model(), machine("nvidia"), chosen="transformers")
    assert found[0].backend.name == "transformers"
    assert reasons(found, "transformers").startswith("it is your choice")
    assert routes(model("gguf"), machine(), chosen="vllm")[0].backend.name == "llama.cpp"
    assert routes(model(), machine(), "transformers", chosen="transformers")[0].backend.name == "vllm"


def test_memory_that_is_short_costs_points_and_that_is_not_there_all() -> None:
    large = model(gib=20)
    plenty, busy, spilt, none = (
        routes(large, machine("nvidia", gpu, free, memory))
        for gpu, free, memory in ((24, 23, 8), (24, 4, 8), (8, 7, 16), (8, 7, 8))
    )
    scores = [next(one.score for one in found if one.backend.name == "vllm") for found in (plenty, busy, spilt, none)]
    assert scores == [1.0, 0.7, 0.0, 0.0]
    assert "is free now" in reasons(busy, "vllm")
    assert names(spilt) == "transformers" and "stays in the machine's memory" in reasons(spilt, "transformers")
    assert names(none) == "" and "more than the" in reasons(none, "transformers")


def test_llama_cpp_reads_what_does_not_fit_from_the_disk() -> None:
    found = routes(model("gguf", gib=100), machine())
    assert found[0].score == pytest.approx(0.18) and "again and again" in found[0].reasons[1]


def test_doubts_about_the_model_are_doubts_about_its_routes() -> None:
    sure, unsure = (routes(model(evidence=(Evidence("", doubt),)), machine())[0].score for doubt in (0, 0.4))
    assert unsure == pytest.approx(0.6 * sure)


def test_a_kv_cache_counts() -> None:
    wide = model(gib=3, layers=32, kv_heads=(32,) * 32, head_dim=128)
    assert wide.estimate_memory(4096).kv_cache == 2 * GIB
    assert "it needs" in reasons(routes(wide, machine(memory=6)), "vllm")


def test_of_two_kinds_of_gpus_the_better_one_is_taken() -> None:
    both = Hardware(
        CPU(), Memory(total_bytes=64 * GIB, available_bytes=60 * GIB), (*machine("intel").gpus, *machine("nvidia").gpus)
    )
    assert routes(model(), both)[0].accelerator == "nvidia"
