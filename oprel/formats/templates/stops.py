"""The texts that end an answer, for chat templates of common forms: Ollama gives its models the same."""

# Each form: the texts that its templates contain, all of which end an answer.
FORMS = (
    ("<|im_start|>", "<|im_end|>"),  # ChatML
    ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),  # Llama 3
    ("<start_of_turn>", "<end_of_turn>"),  # Gemma
    ("<|end|>", "<|user|>", "<|assistant|>"),  # Phi-3
)


def stops_of(template: str) -> list[str]:
    """The stops of a template; none if its form is not known.

    >>> stops_of("<|im_start|>{{ role }}\\n{{ content }}<|im_end|>"), stops_of("### Instruction")
    (['<|im_start|>', '<|im_end|>'], [])
    """
    return next(([*form] for form in FORMS if all(text in template for text in form)), [])
