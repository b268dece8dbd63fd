"""`mlx_lm.server`: safetensors, also quantized by MLX, on Apple's GPUs. As of its source of August 2026.

Its documentation says that it is not for production: it has only basic checks, and no keys. Here it listens on a Unix
socket that only the daemon reaches. It listens before it loads, and closes the connection on an invalid number.
"""

from collections.abc import Mapping

from oprel.formats.model_info import ModelInfo
from oprel.runtime.backends.backend import Accelerator, Backend, Listens
from oprel.runtime.backends.dialect import Call, Dialect, Json, Unknown
from oprel.runtime.binaries.environments import Recipe
from oprel.runtime.spec import EngineSpec

PLAIN = ("F32", "F16", "BF16", "unknown")


def arguments(spec: EngineSpec, flags: frozenset[str]) -> list[str]:
    adapter = [text for path in spec.files.adapters[:1] for text in ("--adapter-path", str(path))]
    template = ["--chat-template", spec.files.chat_template] if spec.files.chat_template else []
    return ["--model", str(spec.files.weights), *adapter, *template, *spec.extra_arguments]


def refuses(info: ModelInfo, accelerator: Accelerator) -> str | None:
    can_read = info.quantization in PLAIN or info.quantization.startswith("MLX")
    return None if can_read else f"knows no {info.quantization} weights"


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
        translated = super().completion(path, body).body
        translated.pop("model")  # without a name it uses the model that it was started with
        if translated.pop("logprobs", None):
            raise Unknown("report the probabilities of tokens as OpenAI does")
        window = translated.get("repetition_context_size")
        if isinstance(window, int) and window < 0:  # it has no value for "the whole context"
            del translated["repetition_context_size"]
        return Call(path, translated)


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
    experimental="its arguments and replies follow its source; it is untested with oprel",
)
