"""The texts that end an answer, for the common families of chat templates: Ollama gives its models the same."""

# For each family of templates the texts by which it is recognised. All of them end an answer.
FAMILIES = (
    ("<|im_start|>", "<|im_end|>"),  # ChatML
    ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),  # Llama 3
    ("<start_of_turn>", "<end_of_turn>"),  # Gemma
    ("<|end|>", "<|user|>", "<|assistant|>"),  # Phi-3
)


def stops_of(template: str) -> list[str]:
    """The stops of a template; none if its family is unknown.

    >>> stops_of("<|im_start|>{{ role }}\\n{{ content }}<|im_end|>"), stops_of("### Instruction")
    (['<|im_start|>', '<|im_end|>'], [])
    """
    return next(([*texts] for texts in FAMILIES if all(text in template for text in texts)), [])
