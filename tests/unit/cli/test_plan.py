"""`oprel plan` and `oprel bench`, as a user would type them."""

import json
from pathlib import Path

import pytest

import oprel
from oprel.cli.commands.plan import BAR, bar, described
from oprel.cli.main import main
from oprel.core.exceptions import InvalidModelError, ValidationError
from oprel.core.planning import recommend
from oprel.daemon_models import PlanResponse
from oprel.telemetry.settings import Asked
from tests.fixtures.gguf_factory import write_tiny_gguf
from tests.fixtures.known_models import DATA, write_known_model

MACHINES = DATA / "machines"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of one model in two quantizations by name, beside its eyes."""
    folder = tmp_path_factory.mktemp("repository")
    write_known_model(folder / "m-Q8_0.gguf", "qwen2.5-0.5b")
    write_known_model(folder / "m-Q4_K_M.gguf", "qwen2.5-0.5b")
    write_tiny_gguf(folder / "mmproj-m-f16.gguf")
    return folder


def planned(capsys: pytest.CaptureFixture[str], *arguments: str) -> PlanResponse:
    assert main(["plan", *arguments, "--json"]) == 0
    return PlanResponse.model_validate_json(capsys.readouterr().out)


def test_every_quantization_has_its_line_and_one_is_chosen(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(folder), "--hardware", str(MACHINES / "nvidia-8gb.json")]) == 0
    out = capsys.readouterr().out
    lines = {name: next(line for line in out.splitlines() if f" {name} " in line) for name in ("Q8_0", "Q4_K_M")}
    assert "➤" in lines["Q8_0"] and "loses more than Q8_0" in lines["Q4_K_M"]
    assert "NVIDIA GeForce RTX 3070:" in out and "CPU:" in out and "--ctx-size" in out


def test_what_is_asked_is_what_is_planned(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--ctx", "8192", "--parallel", "2", "--no-kv-unified", "--kv-cache-type", "q8_0", "--ubatch", "256")
    found = planned(capsys, str(folder / "m-Q8_0.gguf"), *flags)
    assert (found.cells, found.slots, found.kv_cache_type, found.context) == (8192, 2, "q8_0", 4096)
    given = dict(zip(found.command, [*found.command[1:], ""], strict=True))
    assert (given["--ctx-size"], given["--parallel"], given["--ubatch-size"]) == ("8192", "2", "256")
    assert "--kv-unified" not in found.command


def test_context_is_of_each_request_or_of_the_whole_cache(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    each = planned(capsys, str(folder / "m-Q8_0.gguf"), "--num-ctx", "1024", "--parallel", "3")
    assert (each.context, each.cells) == (1024, 3072)
    whole = planned(capsys, str(folder / "m-Q8_0.gguf"), "--ctx", "1024", "--parallel", "3")
    assert (whole.context, whole.cells) == (1024, 1024)


def test_figures_add_up(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory = planned(capsys, str(folder), "--hardware", str(MACHINES / "nvidia-8gb.json")).memory
    parts = ("weights_bytes", "kv_bytes", "state_bytes", "compute_bytes", "output_bytes", "overhead_bytes")
    assert memory.total_bytes == sum(getattr(memory, part) for part in parts)
    for part in ("total_bytes", *parts):
        assert getattr(memory, part) == sum(getattr(device, part) for device in memory.devices)


def test_a_quantization_can_be_demanded(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert planned(capsys, str(folder), "--quant", "q4_k_m").quantization == "Q4_K_M"
    assert main(["plan", str(folder), "--quant", "q2_k"]) == ValidationError.exit_code
    assert "There are: Q8_0, Q4_K_M." in capsys.readouterr().err.replace("Q4_K_M, Q8_0", "Q8_0, Q4_K_M")


def test_what_does_not_fit_is_said_with_what_would(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = planned(capsys, str(folder), "--num-ctx", "99999999", "--hardware", str(MACHINES / "cpu-8gb.json"))
    assert not found.fits
    first, *advice = described(found)
    assert "does not fit: it needs" in first and advice


def test_values_that_make_no_sense_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for flags in (["--ctx", "0"], ["--kv-cache-type", "q9"], ["--ctx", "1", "--num-ctx", "1"], ["--parallel", "many"]):
        assert main(["plan", str(folder), *flags]) == ValidationError.exit_code
    assert main(["plan", str(folder), "--hardware", str(folder / "m-Q8_0.gguf")]) == ValidationError.exit_code


def test_a_folder_without_models_is_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match="has no GGUF model in it"):
        recommend(tmp_path)


def test_python_gets_the_same(folder: Path) -> None:
    found = oprel.recommend(folder / "m-Q8_0.gguf", Asked(context=512))
    assert found.fits and found.context == 512


async def test_in_an_event_loop_too(folder: Path) -> None:
    assert recommend(folder / "m-Q8_0.gguf").fits


def test_a_bar_is_as_full_as_the_device(folder: Path) -> None:
    place = recommend(folder / "m-Q8_0.gguf").memory.devices[0]
    place.budget_bytes = 2 * place.total_bytes
    drawn = list(bar(place))[1].strip()[1:-1]
    assert len(drawn) == BAR and drawn.count("·") == BAR // 2


def test_the_memory_is_measured_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "memory", "--home", str(tmp_path / "home")]) == 0
    assert "B/s, read by" in capsys.readouterr().out
    assert json.loads((tmp_path / "home" / "bandwidth.json").read_text())
