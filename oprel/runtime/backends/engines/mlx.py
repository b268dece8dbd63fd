"""`mlx_lm.server`: safetensors, also those that MLX has quantized, on Apple's GPUs. As of its source of August 2026.

Its own server says that it is not for production: it has only basic checks, and no keys. On the socket that it gets
here nobody else reaches it. It listens before it loads, and ends the connection where a number is not to its liking.
"""

from collections.abc import Mapping

from oprel.formats.model_info import ModelInfo
from oprel.runtime.backends.backend import Accelerator, Backend, Listens
from oprel.runtime.backends.dialect import Call, Dialect, Json, Unknown
from oprel.runtime.binaries.environments import Recipe
from oprel.runtime.spec import EngineSpec

PLAIN = ("F32", "F16", "BF16", "unknown")


def arguments(spec: EngineSpec, flags: frozenset[str]) -> list[str]:
    adapter = [text for path in spec.parts.adapters[:1] for text in ("--adapter-path", str(path))]
    template = ["--chat-template", spec.parts.chat_template] if spec.parts.chat_template else []
    return ["--model", str(spec.parts.weights), *adapter, *template, *spec.extra_arguments]


def refuses(info: ModelInfo, accelerator: Accelerator) -> str | None:
    is_known = info.quantization in PLAIN or info.quantization.startswith("MLX")
    return None if is_known else f"knows no {info.quantization} weights"


class MLXDialect(Dialect):
    renamed: Mapping[str, str | None] = {
        **Dialect.renamed,
        "repeat_penalty": "repetition_penalty",
        "repeat_last_n": "repetition_context_size",
        "top_k": "top_k",
        "min_p": "min_p",
    }

    def completion(self, path: str, body: Json) -> Call:
        if "response_format" in body:
            raise Unknown("hold an answer to a schema")
        sent = super().completion(path, body).body
        sent.pop("model")  # the one that it was started with
        if sent.pop("logprobs", None):
            raise Unknown("tell the probabilities of tokens as OpenAI does")
        window = sent.get("repetition_context_size")
        if isinstance(window, int) and window < 0:  # all of it, which it cannot be told
            del sent["repetition_context_size"]
        return Call(path, sent)


BACKEND = Backend(
    name="mlx",
    title="MLX",
    formats=frozenset(("safetensors",)),
    suits={"apple": 1.0},
    executables=("mlx_lm.server",),
    install="oprel engines install mlx",
    arguments=arguments,
    recipes={
        "apple": Recipe(requirements=("mlx-lm",), size_bytes=10**9, wants="MLX is for macOS on Apple's processors.")
    },
    refuses=refuses,
    listens=Listens.WRAPPED,
    dialect=MLXDialect(),
    experimental="its arguments and replies are from its source, and nobody has run it with oprel yet",
)
