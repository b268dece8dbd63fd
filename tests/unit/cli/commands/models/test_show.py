"""What `oprel show` prints of a model."""

from oprel.api_models import ModelDetails, OllamaShowResponse
from oprel.cli.commands.models.show import described


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
