"""`oprel bench run`: which models are meant, what is kept, and what is said about changes."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from oprel.api_models import ListedModel, ModelDetails
from oprel.cli.benchmarks.benchmark import LONG, prompt, subjects
from oprel.cli.benchmarks.history import MOST, history, previous, remember
from oprel.cli.commands.machine.bench import changes
from oprel.cli.main import main
from oprel.core.exceptions import ModelNotFoundError
from oprel.wire.benchmarks import Benchmark


def benchmark(**changed: object) -> Benchmark:
    values: dict[str, object] = {
        "model": "gemma:q4_0",
        "digest": "abc",
        "quantization": "Q4_0",
        "machine": "a laptop",
        "settings": "4 slots",
        "at": "2026-01-02T03:04:05+00:00",
        "runs": 3,
        "prefill_speed": 400.0,
        "decode_speed": 20.0,
        "first_token_seconds": 0.1,
        "load_seconds": 1.0,
        "memory_bytes": 10**9,
        "expected_bytes": 10**9,
    }
    return Benchmark.model_validate(values | changed)


def listed(*names: str) -> list[ListedModel]:
    details = ModelDetails(format="gguf", family="gemma3")
    return [
        ListedModel(name=name, model=name, modified_at="", size=1, digest="abc", details=details, source=None)
        for name in names
    ]


INSTALLED = listed("gemma:q4_0", "gemma:q8_0", "gemma-long:latest", "guide:latest")


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["guide"], ["guide:latest"]),
        (["gemma"], ["gemma:q4_0", "gemma:q8_0"]),
        (["gemma:q8_0"], ["gemma:q8_0"]),
        (["guide", "gemma", "guide:latest"], ["guide:latest", "gemma:q4_0", "gemma:q8_0"]),
    ],
)
def test_a_name_without_a_tag_means_all_quantizations(names: Sequence[str], found: Sequence[str]) -> None:
    assert [model.name for model in subjects(INSTALLED, names)] == found


def test_a_model_that_is_not_installed_is_not_measured() -> None:
    with pytest.raises(ModelNotFoundError, match='"gem" is not installed'):
        subjects(INSTALLED, ["guide", "gem"])


def test_prompts_begin_unlike_each_other() -> None:
    assert prompt("1", 3) == "1 the river runs" and len(prompt("2", LONG).split()) == LONG + 1


# The history


def test_a_benchmark_is_compared_with_the_last_one_of_the_same(tmp_path: Path) -> None:
    file = tmp_path / "benchmarks.jsonl"
    assert history(file) == []
    others = [benchmark(**{field: "other"}) for field in ("model", "digest", "machine", "settings")]
    remember(file, [benchmark(runs=1), benchmark(runs=2), *others])
    found = previous(benchmark(), history(file))
    assert found and found.runs == 2
    assert previous(benchmark(model="new"), history(file)) is None


def test_the_history_is_bounded_and_survives_damage(tmp_path: Path) -> None:
    file = tmp_path / "benchmarks.jsonl"
    remember(file, [benchmark(runs=number) for number in range(MOST)])
    with file.open("a") as lines:
        lines.write('{"model": "of another version"}\nnot JSON\n')
    remember(file, [benchmark(runs=MOST)])
    kept = history(file)
    assert len(kept) == len(file.read_text().splitlines()) == MOST
    assert (kept[0].runs, kept[-1].runs) == (1, MOST)


# What is said


def test_changes_are_told_in_words() -> None:
    now = benchmark(prefill_speed=500.0, decode_speed=19.9, first_token_seconds=0.2, memory_bytes=9 * 10**8)
    assert changes(now, benchmark()) == "prefill 25% faster, first token 50% slower, memory 10% less"
    assert changes(benchmark(), benchmark()) == "no change"
    assert changes(benchmark(decode_speed=0.0), benchmark()) == "no change"


@pytest.mark.parametrize("words", [["run"], ["memory", "guide"]])
def test_a_model_is_for_run_only(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *words]) == 2
    assert "oprel bench run MODEL" in capsys.readouterr().err
