"""What `oprel show` prints of a model."""

from oprel.api_models import ModelDetails, OllamaShowResponse
from oprel.cli.commands.models.show import described
from oprel.wire.daemon import PlannedMemory


def test_a_parameter_says_where_it_comes_from_unless_a_modelfile_sets_it() -> None:
    info = OllamaShowResponse(
        modelfile="",
        parameters='stop  "<end>"\ntemperature  1\ntop_k  5',
        details=ModelDetails(family="gemma3"),
        model_info={},
        capabilities=["completion"],
        modified_at="",
        parameter_sources={"stop": "family gemma3", "temperature": "file", "top_k": "Modelfile"},
    )
    lines = [line.split() for line in described(info).splitlines()]
    assert ["stop", '"<end>"', "(family", "gemma3)"] in lines
    assert ["temperature", "1", "(file)"] in lines
    assert ["top_k", "5"] in lines
    assert "Memory" not in described(info)


def test_the_memory_that_it_would_take_has_two_figures() -> None:
    memory = PlannedMemory(
        total_bytes=9_100_000_000,
        expected_bytes=8_200_000_000,
        weights_bytes=0,
        kv_bytes=0,
        state_bytes=0,
        compute_bytes=0,
        output_bytes=0,
        overhead_bytes=0,
        devices=[],
    )
    info = OllamaShowResponse(
        modelfile="",
        details=ModelDetails(),
        model_info={},
        capabilities=[],
        modified_at="",
        plan={"memory": memory.model_dump(mode="json")},
    )
    lines = [line.split() for line in described(info).splitlines()]
    assert ["expected", "when", "busy", "8.2", "GB"] in lines and ["reserved", "9.1", "GB"] in lines


def test_nothing_in_a_file_looks_like_a_section() -> None:
    info = OllamaShowResponse(
        modelfile="",
        details=ModelDetails(family="a\n  Notes\n    trust me"),
        model_info={"general.name": "b\n  Notes\n    trust me\x1b[2J"},
        capabilities=["c\n  Notes"],
        modified_at="",
    )
    assert [line for line in described(info, verbose=True).splitlines() if line == "  Notes"] == []
