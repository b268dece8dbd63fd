"""`mlc_llm serve`: models compiled by MLC, on almost any GPU. As of its source of July 2026.

It serves one model under any name. Its errors are a JSON object in a JSON string.
"""

import re
from collections.abc import Mapping

import orjson

from oprel.runtime.backends.backend import Backend, Listens
from oprel.runtime.backends.dialect import Call, Dialect, Json
from oprel.runtime.spec import EngineSpec


def arguments(spec: EngineSpec, flags: frozenset[str]) -> list[str]:
    length, batch = spec.load.num_ctx, spec.load.num_batch
    settings: Mapping[str, object] = {
        "context_window_size": length,
        "max_num_sequence": spec.parallel,
        "max_total_seq_length": (length or 0) * spec.parallel,
        **({"prefill_chunk_size": batch} if batch else {}),
    }
    overrides = ";".join(f"{name}={value}" for name, value in settings.items())
    model = str(spec.files.weights)
    return ["serve", model, "--mode", "server", "--overrides", overrides, *spec.extra_arguments]


class MLCDialect(Dialect):
    too_long = re.compile(r"has (\d+) tokens in total, larger than the model input length limit")

    def completion(self, path: str, body: Json) -> Call:
        translated = super().completion(path, body).body
        match translated.get("response_format"):
            case {"json_schema": {"schema": schema}}:
                translated["response_format"] = {"type": "json_object", "schema": orjson.dumps(schema).decode()}
        if path == "/v1/completions" and translated.pop("logprobs", None):
            translated["logprobs"] = translated.pop("top_logprobs", 0)
        return Call(path, translated)


BACKEND = Backend(
    name="mlc",
    title="MLC-LLM",
    formats=frozenset(("mlc",)),
    suits={"nvidia": 0.9, "amd": 0.9, "apple": 0.9, "intel": 0.8},
    executables=("mlc_llm",),
    install="pip install mlc-llm-nightly mlc-ai-nightly, as its documentation says",
    arguments=arguments,
    listens=Listens.WRAPPED,
    health_path="/v1/models",
    dialect=MLCDialect(),
    experimental="its arguments and replies follow its source; it is untested with oprel",
)
