"""`transformers serve`, for every model that transformers can run. As of 5.19.

- It runs one request at a time, with a KV cache whose size cannot be set.
- A stream ends with the event that has a `finish_reason`, without `[DONE]`. An error is a text in the stream.
- It does not tokenize, and has no embeddings and no schemas.
"""

from collections.abc import Mapping

from oprel.formats.model_info import ModelInfo
from oprel.runtime.backends.backend import Accelerator, Backend, Listens
from oprel.runtime.backends.dialect import Call, Dialect, Json, Unknown
from oprel.runtime.binaries.environments import Recipe
from oprel.runtime.spec import EngineSpec

ON_GPU_ONLY = ("GPTQ", "AWQ", "FP8", "MXFP4", "BITSANDBYTES")
NEVER = ("EXL2", "EXL3", "MLX")
PARAMETERS = (
    *("messages", "prompt", "tools", "stream", "max_tokens"),
    *("temperature", "top_p", "seed", "stop", "frequency_penalty"),
)

REQUIREMENTS = ("transformers[serving]>=5.19,<6", "accelerate")
# Most of it is CUDA, which PyPI's builds of PyTorch for Linux include.
RECIPE = Recipe(requirements=REQUIREMENTS, size_bytes=6 * 10**9)
ON_APPLE = Recipe(requirements=REQUIREMENTS, size_bytes=2 * 10**9)


def arguments(spec: EngineSpec, flags: frozenset[str]) -> list[str]:
    device = "cpu" if spec.load.num_gpu == 0 else "auto"
    return ["serve", str(spec.files.weights), "--device", device, *spec.extra_arguments]


def environment(spec: EngineSpec) -> Mapping[str, str]:
    return {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "warning"}


def refuses(info: ModelInfo, accelerator: Accelerator) -> str | None:
    if info.method in NEVER:
        return f"knows no {info.method} weights"
    return f"runs no {info.method} weights on a CPU" if accelerator == "cpu" and info.method in ON_GPU_ONLY else None


class TransformersDialect(Dialect):
    says_done = False

    def completion(self, path: str, body: Json) -> Call:
        if "response_format" in body:
            raise Unknown("hold an answer to a schema")
        if body.get("logprobs") and not body.get("post_sampling_probs"):
            raise Unknown("report the probabilities of tokens")
        return Call(path, {name: body[name] for name in PARAMETERS if name in body})


BACKEND = Backend(
    name="transformers",
    title="transformers serve",
    formats=frozenset(("safetensors", "pytorch")),
    suits={"nvidia": 0.5, "amd": 0.5, "apple": 0.6, "intel": 0.3, "cpu": 0.3},
    executables=("transformers",),
    install="oprel engines install transformers",
    arguments=arguments,
    environment=environment,
    recipes={"nvidia": RECIPE, "apple": ON_APPLE, "cpu": RECIPE},
    refuses=refuses,
    listens=Listens.WRAPPED,
    dialect=TransformersDialect(),
    spills=True,
    overhead_bytes=768 * 1024**2,
)
