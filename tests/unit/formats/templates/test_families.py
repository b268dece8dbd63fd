"""Which family a chat template is of, and what comes with it."""

import pytest

from oprel.formats.templates.families import CHATML, FAMILIES, Family, family_of
from oprel.formats.templates.plain_frame import FRAME

# What Ollama's library attaches, by what a template says and the model's architecture.
ATTACHED = [
    ("<|im_start|>{{ role }}<|im_end|>", "llama", "chatml", CHATML),
    ("<|im_start|><|im_end|> You are Qwen, created by Alibaba Cloud.", "qwen2", "qwen2.5", ()),
    ("<|im_start|><|im_end|><think>", "qwen3", "qwen3", CHATML),
    ("<|im_start|><|im_end|>", "qwen3", "qwen3-instruct", CHATML),
    ("<|im_start|><|im_end|><function=", "qwen3moe", "qwen3-coder", (*CHATML, "<|endoftext|>")),
    ("<|im_start|><|im_end|><function=<think>", "qwen35", "qwen3.5", ()),
    ("<|im_start|><|im_sep|><|im_end|>", "phi3", "phi4", (*CHATML, "<|im_sep|>")),
    (
        "<|start_header_id|><|end_header_id|><|eot_id|>",
        "llama",
        "llama3",
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    ("<|header_start|><|header_end|><|eot|>", "llama4", "llama4", ()),
    ("<<SYS>>[INST][/INST]", "llama", "llama2", ("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>")),
    ("[INST][/INST]", "llama", "mistral", ("[INST]", "[/INST]")),
    ("<start_of_turn><end_of_turn>", "gemma2", "gemma", ("<start_of_turn>", "<end_of_turn>")),
    ("<start_of_turn><end_of_turn>", "gemma3", "gemma3", ("<end_of_turn>",)),
    ("<|turn><turn|>", "gemma4", "gemma4", ()),
    ("<｜User｜><｜Assistant｜>", "deepseek2", "deepseek", ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>")),
    ("<｜User｜></think>", "qwen2", "deepseek-r1", ("<｜User｜>", "<｜Assistant｜>")),
    ("{% if thinking %}<｜User｜></think>", "deepseek2", "deepseek-v3.1", ()),
    ("<|user|><|assistant|><|end|>", "phi3", "phi3", ("<|end|>", "<|user|>", "<|assistant|>")),
    ("<|end|><|tool|>", "phi3", "phi4-mini", ()),
    (
        "<|START_OF_TURN_TOKEN|>",
        "command-r",
        "command-r",
        ("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
    ),
    ("<|START_OF_TURN_TOKEN|><|START_RESPONSE|>", "cohere2", "command-r7b", ("<|END_RESPONSE|>",)),
    ("[gMASK]<sop><|user|>", "glm4", "glm", ("<|system|>", "<|user|>", "<|assistant|>")),
    ("<|start_of_role|>", "granite", "granite", ()),
    ("[|user|][|endofturn|]", "exaone", "exaone", ("[|endofturn|]",)),
    ("<|start|><|channel|><|message|><|end|>", "gpt-oss", "gpt-oss", ()),
    ("<|start|><|message|><|eom|><|eot|>", "muse", "muse", ()),  # Ollama's would end each answer at once
    ("USER: ASSISTANT:", "llama", "vicuna", ("USER:", "ASSISTANT:")),
    ("### Instruction: ### Response:", "llama", "alpaca", ("### Instruction:", "### Response:")),
    ("GPT4 Correct User:<|end_of_turn|>", "llama", "openchat", ("<|end_of_turn|>",)),
    ("Question: Answer:", "llama", "granite-code", ("Question:", "Answer:")),
]


@pytest.mark.parametrize(("template", "architecture", "name", "stops"), ATTACHED, ids=[row[2] for row in ATTACHED])
def test_a_family_has_the_stops_of_ollama_s_library(
    template: str, architecture: str, name: str, stops: tuple[str, ...]
) -> None:
    family = family_of(template, architecture)
    assert family is not None and family.name == name
    assert set(stops) <= set(family.stops) if stops else family.stops == ()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_no_family_hides_another(family: Family) -> None:
    architecture = family.architectures[0] if family.architectures else "llama"
    recognised = family_of(" ".join(family.marks), architecture)
    assert recognised is not None and recognised.name == family.name


def test_there_are_thirty_families_and_more() -> None:
    assert len({family.name for family in FAMILIES}) >= 30


@pytest.mark.parametrize(
    ("architecture", "template", "parameters"),
    [
        ("gemma3", "<start_of_turn><end_of_turn>", {"temperature": 1, "top_k": 64, "top_p": 0.95}),
        (
            "qwen3",
            "<|im_start|><|im_end|><think>",
            {"repeat_penalty": 1, "temperature": 0.6, "top_k": 20, "top_p": 0.95},
        ),
        ("llama", "<|im_start|><|im_end|>", {}),
    ],
)
def test_a_family_has_its_default_parameters(architecture: str, template: str, parameters: dict[str, float]) -> None:
    family = family_of(template, architecture)
    assert family is not None and family.parameters == parameters


@pytest.mark.parametrize("template", ["", "{{ prompt }}", FRAME])
def test_other_templates_are_of_no_family(template: str) -> None:
    assert family_of(template, "llama") is None
