"""Hugging Face's text-generation-inference. As of its source of January 2026, its last.

It knows no Unix sockets: it listens on a loopback port, and wants a random key from who asks.
"""

import re
from collections.abc import Mapping

from pydantic import JsonValue

from oprel.formats.model_info import ModelInfo
from oprel.runtime.backends.backend import Accelerator, Backend, Listens
from oprel.runtime.backends.dialect import Call, Dead, Dialect, Json, Unknown
from oprel.runtime.spec import EngineSpec

NEVER = ("EXL3", "MLX")
DEATHS = ("Incomplete generation", "transport error")  # its shard is gone


def arguments(spec: EngineSpec, flags: frozenset[str]) -> list[str]:
    length = spec.load.num_ctx or 0
    given: Mapping[str, object] = {
        "--model-id": spec.parts.weights,
        "--hostname": "127.0.0.1",
        "--port": spec.port,
        "--max-total-tokens": length,
        "--max-input-tokens": max(1, length - 1),
        "--max-batch-total-tokens": length * spec.parallel,
        "--max-batch-prefill-tokens": length,  # by itself it may choose more than the line above
        "--max-concurrent-requests": spec.parallel,
        "--prometheus-port": 0,  # a second one would not start where the first has the usual one
        "--shard-uds-path": spec.socket.with_suffix(".shard"),
    }
    return [*(text for flag, value in given.items() for text in (flag, str(value))), *spec.extra_arguments]


def environment(spec: EngineSpec) -> Mapping[str, str]:
    return {"API_KEY": spec.key, "HF_HUB_OFFLINE": "1", "DISABLE_TELEMETRY": "true"}


def refuses(info: ModelInfo, accelerator: Accelerator) -> str | None:
    return f"knows no {info.method} weights" if info.method in NEVER else None


class TGIDialect(Dialect):
    renamed: Mapping[str, str | None] = {**Dialect.renamed, "repeat_penalty": "repetition_penalty"}
    fills_context = True
    too_long = re.compile(r"`inputs` must have less than \d+ tokens. Given: (\d+)")

    def completion(self, path: str, body: Json) -> Call:
        sent = super().completion(path, body).body
        sent.pop("model")  # any name is that of an adapter
        if sent.get("top_p") == 1:  # that is all of them, which it refuses to be asked for
            del sent["top_p"]
        match sent.get("response_format"):
            case {"json_schema": {"schema": schema}}:
                sent["response_format"] = {"type": "json", "value": schema}
        return Call(path, sent)

    def tokenize(self, body: Json) -> Call:
        return Call("/tokenize", {"inputs": body["content"], "add_special_tokens": body.get("add_special", True)})

    def tokens(self, reply: JsonValue) -> JsonValue:
        return [one["id"] for one in reply if isinstance(one, dict)] if isinstance(reply, list) else []

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
    install="its container, or a build of it: a program `text-generation-launcher` on PATH",
    arguments=arguments,
    environment=environment,
    refuses=refuses,
    listens=Listens.PORT,
    dialect=TGIDialect(),
    leaves_children=True,
    experimental="its arguments and replies are from its source, and nobody has run it with oprel yet",
)
