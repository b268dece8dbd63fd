"""Hugging Face's text-generation-inference. As of its source of January 2026, the last.

It has no Unix sockets: it listens on a loopback port, and requires a random key.
"""

import re
from collections.abc import Mapping

from pydantic import JsonValue

from oprel.formats.model_info import ModelInfo
from oprel.runtime.backends.backend import Accelerator, Backend, Listens
from oprel.runtime.backends.dialect import Call, Dead, Dialect, Json, Unknown
from oprel.runtime.spec import EngineSpec

NEVER = ("EXL3", "MLX")
DEATHS = ("Incomplete generation", "transport error")  # its shard has died


def arguments(spec: EngineSpec, flags: frozenset[str]) -> list[str]:
    length = spec.load.num_ctx or 0
    options: Mapping[str, object] = {
        "--model-id": spec.files.weights,
        "--hostname": "127.0.0.1",
        "--port": spec.port,
        "--max-total-tokens": length,
        "--max-input-tokens": max(1, length - 1),
        "--max-batch-total-tokens": length * spec.parallel,
        "--max-batch-prefill-tokens": length,  # by default it may exceed the total above
        "--max-concurrent-requests": spec.parallel,
        "--prometheus-port": 0,  # with the default port, a second engine would not start
        "--shard-uds-path": spec.socket.with_suffix(".shard"),
    }
    return [*(text for flag, value in options.items() for text in (flag, str(value))), *spec.extra_arguments]


def environment(spec: EngineSpec) -> Mapping[str, str]:
    return {"API_KEY": spec.key, "HF_HUB_OFFLINE": "1", "DISABLE_TELEMETRY": "true"}


def refuses(info: ModelInfo, accelerator: Accelerator) -> str | None:
    return f"knows no {info.method} weights" if info.method in NEVER else None


class TGIDialect(Dialect):
    renamed: Mapping[str, str | None] = {**Dialect.renamed, "repeat_penalty": "repetition_penalty"}
    fills_context = True
    too_long = re.compile(r"`inputs` must have less than \d+ tokens. Given: (\d+)")

    def completion(self, path: str, body: Json) -> Call:
        translated = super().completion(path, body).body
        translated.pop("model")  # it takes any name for that of an adapter
        if translated.get("top_p") == 1:  # this means all tokens, but it refuses the value
            del translated["top_p"]
        match translated.get("response_format"):
            case {"json_schema": {"schema": schema}}:
                translated["response_format"] = {"type": "json", "value": schema}
        return Call(path, translated)

    def tokenize(self, body: Json) -> Call:
        return Call("/tokenize", {"inputs": body["content"], "add_special_tokens": body.get("add_special", True)})

    def tokens(self, reply: JsonValue) -> JsonValue:
        return [token["id"] for token in reply if isinstance(token, dict)] if isinstance(reply, list) else []

    def error(self, status: int, error: Json) -> Json:
        message = str(error.get("message"))
        if any(word in message for word in DEATHS):
            raise Dead(message)
        return super().error(status, error)

    def other(self, path: str, body: Json) -> Call:
        raise Unknown("make vectors or scores")


BACKEND = Backend(
    name="tgi",
    title="text-generation-inference",
    formats=frozenset(("safetensors",)),
    suits={"nvidia": 0.8, "amd": 0.7, "intel": 0.5},
    executables=("text-generation-launcher",),
    install="its container, or a build of it, with the program `text-generation-launcher` on PATH",
    arguments=arguments,
    environment=environment,
    refuses=refuses,
    listens=Listens.PORT,
    dialect=TGIDialect(),
    leaves_children=True,
    experimental="its arguments and replies follow its source; it is untested with oprel",
)
