"""The families of chat templates: how each is recognised, and what Ollama's library attaches to its models. Pure.

One row for each family, the more specific ones first. `stops` and `parameters` are what Ollama's library has; `ends`
are the texts that end a turn. A file usually declares the tokens of these as ends of generation; where it does not,
they are stops as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from oprel.core.models.modelfile import Parameter


@dataclass(frozen=True, kw_only=True)
class Family:
    """`marks` are all in its templates. With `architectures`, the model has one of them."""

    name: str
    marks: tuple[str, ...]
    architectures: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    def matches(self, template: str, architecture: str) -> bool:
        is_of_architecture = not self.architectures or architecture in self.architectures
        return is_of_architecture and all(mark in template for mark in self.marks)


CHATML = ("<|im_start|>", "<|im_end|>")
CHATML_END = ("<|im_end|>",)
QWEN3 = ("qwen3", "qwen3moe")
DEEPSEEK_STOPS = ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>")
DEEPSEEK_END = ("<｜end▁of▁sentence｜>",)
GLM = Family(
    name="glm",
    marks=("[gMASK]",),
    stops=("<|system|>", "<|user|>", "<|assistant|>"),
    ends=("<|user|>", "<|observation|>"),
)

FAMILIES = (
    # ChatML and its relatives
    Family(name="phi4", marks=("<|im_start|>", "<|im_sep|>"), stops=(*CHATML, "<|im_sep|>"), ends=CHATML_END),
    Family(
        name="qwen3-coder",
        marks=(*CHATML, "<function="),
        architectures=(*QWEN3, "qwen3next"),
        stops=(*CHATML, "<|endoftext|>"),
        ends=CHATML_END,
        parameters={"repeat_penalty": 1.05, "temperature": 0.7, "top_k": 20, "top_p": 0.8},
    ),
    Family(
        name="qwen3",
        marks=(*CHATML, "<think>"),
        architectures=QWEN3,
        stops=CHATML,
        ends=CHATML_END,
        parameters={"repeat_penalty": 1, "temperature": 0.6, "top_k": 20, "top_p": 0.95},
    ),
    Family(
        name="qwen3-instruct",
        marks=CHATML,
        architectures=QWEN3,
        stops=CHATML,
        ends=CHATML_END,
        parameters={"repeat_penalty": 1, "temperature": 0.7, "top_k": 20, "top_p": 0.8},
    ),
    Family(
        name="qwen3-vl",
        marks=CHATML,
        architectures=("qwen3vl", "qwen3vlmoe"),
        stops=CHATML,
        ends=CHATML_END,
        parameters={"temperature": 1, "top_k": 20, "top_p": 0.95},
    ),
    Family(
        name="qwen3.5",
        marks=CHATML,
        architectures=("qwen35", "qwen35moe"),
        ends=CHATML_END,
        parameters={"temperature": 1, "top_k": 20, "top_p": 0.95},
    ),
    Family(name="qwen2.5", marks=(*CHATML, "created by Alibaba Cloud"), architectures=("qwen2",), ends=CHATML_END),
    Family(name="kimi-k2", marks=("<|im_middle|>",), ends=CHATML_END),
    Family(name="chatml", marks=CHATML, stops=CHATML, ends=CHATML_END),
    # Llama and Mistral
    Family(
        name="llama3",
        marks=("<|start_header_id|>", "<|end_header_id|>"),
        stops=("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        ends=("<|eot_id|>", "<|eom_id|>"),
    ),
    Family(name="llama4", marks=("<|header_start|>", "<|eot|>"), ends=("<|eot|>",)),
    Family(
        name="llama2", marks=("[INST]", "<<SYS>>"), stops=("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"), ends=("</s>",)
    ),
    Family(name="mistral", marks=("[INST]",), stops=("[INST]", "[/INST]"), ends=("</s>",)),
    # Gemma
    Family(
        name="gemma3",
        marks=("<start_of_turn>", "<end_of_turn>"),
        architectures=("gemma3", "gemma3n"),
        stops=("<end_of_turn>",),
        ends=("<end_of_turn>",),
        parameters={"temperature": 1, "top_k": 64, "top_p": 0.95},
    ),
    Family(
        name="gemma",
        marks=("<start_of_turn>", "<end_of_turn>"),
        stops=("<start_of_turn>", "<end_of_turn>"),
        ends=("<end_of_turn>",),
    ),
    Family(name="gemma4", marks=("<|turn>", "<turn|>"), ends=("<turn|>", "<|tool_response>")),
    # DeepSeek
    Family(name="deepseek-v3.1", marks=("<｜User｜>", "thinking"), ends=DEEPSEEK_END),
    Family(
        name="deepseek-r1",
        marks=("<｜User｜>", "</think>"),
        stops=DEEPSEEK_STOPS,
        ends=DEEPSEEK_END,
        parameters={"temperature": 0.6, "top_p": 0.95},
    ),
    Family(name="deepseek", marks=("<｜User｜>",), stops=DEEPSEEK_STOPS, ends=DEEPSEEK_END),
    # those that write channels. Muse's stops in Ollama, `<|start|>` and `<|message|>`, end each answer at once.
    Family(name="muse", marks=("<|start|>", "<|message|>", "<|eot|>"), ends=("<|eot|>",)),
    Family(
        name="gpt-oss",
        marks=("<|start|>", "<|channel|>", "<|message|>"),
        ends=("<|return|>", "<|call|>"),
        parameters={"temperature": 1},
    ),
    Family(name="solar", marks=("<|begin|>",), ends=("<|flush|>", "<|calls|>")),
    # roles as tokens
    GLM,
    replace(GLM, marks=("<|observation|>",)),
    Family(name="phi4-mini", marks=("<|end|>", "<|tool|>"), architectures=("phi3",), ends=("<|end|>",)),
    Family(name="apriel", marks=("<|end|>", "ServiceNow"), ends=("<|end|>",)),
    Family(
        name="phi3",
        marks=("<|end|>", "<|user|>", "<|assistant|>"),
        stops=("<|end|>", "<|user|>", "<|assistant|>"),
        ends=("<|end|>",),
    ),
    Family(
        name="command-r7b",
        marks=("<|START_OF_TURN_TOKEN|>", "<|START_RESPONSE|>"),
        stops=("<|END_RESPONSE|>",),
        ends=("<|END_OF_TURN_TOKEN|>",),
    ),
    Family(
        name="command-r",
        marks=("<|START_OF_TURN_TOKEN|>",),
        stops=("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
        ends=("<|END_OF_TURN_TOKEN|>",),
    ),
    Family(name="granite", marks=("<|start_of_role|>",), ends=("<|end_of_text|>",)),
    Family(name="exaone", marks=("[|endofturn|]",), stops=("[|endofturn|]",), ends=("[|endofturn|]",)),
    Family(name="minimax", marks=("]~b]",), ends=("[e~[",)),
    Family(name="minimax-m1", marks=("<end_of_sentence>",), ends=("<end_of_sentence>",)),
    Family(name="kimi-k3", marks=("<|open|>", "<|end_of_msg|>"), ends=("<|end_of_msg|>",)),
    Family(name="seed", marks=("<seed:",), ends=("<seed:eos>",)),
    Family(name="nemotron-nano", marks=("<SPECIAL_11>",), ends=("<SPECIAL_12>",)),
    Family(name="ling", marks=("<role>", "<|role_end|>"), ends=("<|role_end|>",)),
    Family(name="laguna", marks=("<user>", "</assistant>"), ends=("</assistant>",)),
    Family(name="reka", marks=("human:", "<sep>"), ends=("<sep>",)),
    Family(name="apertus", marks=("<|assistant_end|>",), ends=("<|assistant_end|>",)),
    Family(name="gigachat", marks=("<|message_sep|>",), ends=("<|message_sep|>",)),
    Family(name="hunyuan", marks=("<｜hy_",), ends=("<｜hy_eos:opensource｜>",)),
    # words for roles
    Family(name="openchat", marks=("<|end_of_turn|>",), stops=("<|end_of_turn|>",), ends=("<|end_of_turn|>",)),
    Family(name="vicuna", marks=("USER:", "ASSISTANT:"), stops=("USER:", "ASSISTANT:"), ends=("</s>",)),
    Family(name="alpaca", marks=("### Instruction:", "### Response:"), stops=("### Instruction:", "### Response:")),
    Family(name="granite-code", marks=("Question:", "Answer:"), stops=("Question:", "Answer:")),
)


@lru_cache(maxsize=256)
def family_of(template: str, architecture: str) -> Family | None:
    """The family of a chat template in Jinja; None if it is unknown.

    >>> family = family_of("<|im_start|>{{ role }}\\n{{ content }}<|im_end|>", "llama")
    >>> family.name, family.stops
    ('chatml', ('<|im_start|>', '<|im_end|>'))
    >>> family_of("### Instruction", "llama") is None
    True
    """
    return next((family for family in FAMILIES if family.matches(template, architecture)), None)
