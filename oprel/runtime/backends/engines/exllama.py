"""TabbyAPI, the server of ExLlamaV2 and ExLlamaV3: EXL2 and EXL3 weights on NVIDIA. As of its source of August 2026.

It has no package: `oprel engines use exllama DIR/main.py`, of a checkout with its virtual environment. Each of its
options is a flag with a value, switches too. Its keys are off: nobody else reaches its socket. By then it had given up
ExLlamaV2: EXL2 weights want an older checkout.
"""

import re
from collections.abc import Mapping

from oprel.formats.model_info import ModelInfo
from oprel.runtime.backends.backend import Accelerator, Backend, Listens
from oprel.runtime.backends.dialect import Call, Dialect, Json
from oprel.runtime.spec import EngineSpec

CACHE_MODES = {"q8_0": "8,8", "q4_0": "4,4"}
KNOWN = ("EXL2", "EXL3")
PAGE = 256  # tokens; its cache has whole ones


def arguments(spec: EngineSpec, flags: frozenset[str]) -> list[str]:
    length = spec.load.num_ctx or 0
    given: Mapping[str, object] = {
        "--model-dir": spec.parts.weights.parent,
        "--model-name": spec.parts.weights.name,
        "--max-seq-len": length,
        "--cache-size": -(-length * spec.parallel // PAGE) * PAGE,
        "--cache-mode": CACHE_MODES.get(spec.key_type, "FP16"),
        "--max-batch-size": spec.parallel,
        # An answer has its whole context in the cache, as planned: in chunks, prompts that nearly fill it are refused.
        "--output-chunking": "false",
        "--disable-auth": "true",
        "--port": 0,  # it ends where another program has the usual one, which it would not use
    }
    return [*(text for flag, value in given.items() for text in (flag, str(value))), *spec.extra_arguments]


def refuses(info: ModelInfo, accelerator: Accelerator) -> str | None:
    return None if info.method in KNOWN else f"is for {' and '.join(KNOWN)} weights"


class TabbyDialect(Dialect):
    fills_context = True
    told_text = "text"
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
        sent = super().completion(path, body).body
        sent.pop("model")  # the one that is loaded; another name would be looked for
        match sent.pop("response_format", None):
            case {"json_schema": {"schema": schema}}:
                sent["json_schema"] = schema
        return Call(path, sent)

    def tokenize(self, body: Json) -> Call:
        special, begin = body.get("parse_special", True), body.get("add_special", True)
        asked: Json = {"text": body["content"], "add_bos_token": begin, "encode_special_tokens": special}
        return Call("/v1/token/encode", asked)

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
    install="a checkout of TabbyAPI with its venv, whose program is DIR/main.py",
    arguments=arguments,
    refuses=refuses,
    listens=Listens.WRAPPED,
    dialect=TabbyDialect(),
    experimental="its arguments and replies are from its source, and nobody has run it with oprel yet",
)
