"""TabbyAPI, the server of ExLlamaV2 and ExLlamaV3: EXL2 and EXL3 weights on NVIDIA. As of its source of August 2026.

It has no package: run `oprel engines use exllama DIR/main.py` with a checkout that has a virtual environment. Each of
its options takes a value, even switches. Its keys are off, as only the daemon reaches its socket. The version of August
2026 no longer has ExLlamaV2: EXL2 weights need an older checkout.
"""

import re
from collections.abc import Mapping

from oprel.formats.model_info import ModelInfo
from oprel.runtime.backends.backend import Accelerator, Backend, Listens
from oprel.runtime.backends.dialect import Call, Dialect, Json
from oprel.runtime.spec import EngineSpec

CACHE_MODES = {"q8_0": "8,8", "q4_0": "4,4"}
METHODS = ("EXL2", "EXL3")
PAGE = 256  # tokens; the cache consists of whole pages


def arguments(spec: EngineSpec, flags: frozenset[str]) -> list[str]:
    length = spec.load.num_ctx or 0
    options: Mapping[str, object] = {
        "--model-dir": spec.files.weights.parent,
        "--model-name": spec.files.weights.name,
        "--max-seq-len": length,
        "--cache-size": -(-length * spec.parallel // PAGE) * PAGE,
        "--cache-mode": CACHE_MODES.get(spec.key_type, "FP16"),
        "--max-batch-size": spec.parallel,
        # The plan reserves the cache for a whole context. With chunks, it refuses prompts that nearly fill the context.
        "--output-chunking": "false",
        "--disable-auth": "true",
        "--port": 0,  # it does not use the port, but fails if another program has the default one
    }
    return [*(text for flag, value in options.items() for text in (flag, str(value))), *spec.extra_arguments]


def refuses(info: ModelInfo, accelerator: Accelerator) -> str | None:
    return None if info.method in METHODS else f"is for {' and '.join(METHODS)} weights"


class TabbyDialect(Dialect):
    fills_context = True
    text_field = "text"
    too_long = re.compile(r"Prompt length (\d+) exceeds")
    renamed: Mapping[str, str | None] = {
        **Dialect.renamed,
        "repeat_penalty": "repetition_penalty",
        "repeat_last_n": "penalty_range",
        "typical_p": "typical",
        "top_k": "top_k",
        "min_p": "min_p",
    }

    def completion(self, path: str, body: Json) -> Call:
        translated = super().completion(path, body).body
        translated.pop("model")  # without a name it uses the loaded model
        match translated.pop("response_format", None):
            case {"json_schema": {"schema": schema}}:
                translated["json_schema"] = schema
        return Call(path, translated)

    def tokenize(self, body: Json) -> Call:
        special, begin = body.get("parse_special", True), body.get("add_special", True)
        translated: Json = {"text": body["content"], "add_bos_token": begin, "encode_special_tokens": special}
        return Call("/v1/token/encode", translated)

    def detokenize(self, body: Json) -> Call:
        return Call("/v1/token/decode", {"tokens": body["tokens"], "decode_special_tokens": True})

    def template(self, body: Json) -> Call:
        return Call("/v1/token/encode", {"text": body["messages"]})


BACKEND = Backend(
    name="exllama",
    title="TabbyAPI (ExLlama)",
    formats=frozenset(("safetensors",)),
    suits={"nvidia": 1.0},
    executables=(),
    install="a checkout of TabbyAPI with its venv; its program is DIR/main.py",
    arguments=arguments,
    refuses=refuses,
    listens=Listens.WRAPPED,
    dialect=TabbyDialect(),
    experimental="its arguments and replies follow its source; it is untested with oprel",
)
