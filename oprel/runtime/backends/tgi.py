"""Hugging Face's text-generation-inference. As of launcher.md and its OpenAPI description of 2026.

It knows no Unix sockets: it listens on a loopback port, and wants a random key from who asks.
"""

from collections.abc import Mapping

from pydantic import JsonValue

from oprel.formats.model_info import ModelInfo
from oprel.runtime.backends.backend import Accelerator, Backend, Listens
from oprel.runtime.backends.base import EngineSpec
from oprel.runtime.backends.dialect import Call, Dialect, Json, Unknown

NEVER = ("EXL3", "MLX")


def arguments(spec: EngineSpec, flags: frozenset[str]) -> list[str]:
    length = spec.load.num_ctx or 0
    given: Mapping[str, object] = {
        "--model-id": spec.parts.weights,
        "--hostname": "127.0.0.1",
        "--port": spec.port,
        "--max-total-tokens": length,
        "--max-input-tokens": max(1, length - 1),
        "--max-batch-total-tokens": length * spec.parallel,
        "--max-concurrent-requests": spec.parallel,
        "--shard-uds-path": spec.socket.with_suffix(".shard"),
    }
    return [*(text for flag, value in given.items() for text in (flag, str(value))), *spec.extra_arguments]


def environment(spec: EngineSpec) -> Mapping[str, str]:
    return {"API_KEY": spec.key, "HF_HUB_OFFLINE": "1", "DISABLE_TELEMETRY": "true"}


def refuses(info: ModelInfo, accelerator: Accelerator) -> str | None:
    return f"knows no {info.method} weights" if info.method in NEVER else None


class TGIDialect(Dialect):
    def completion(self, path: str, body: Json) -> Call:
        call = super().completion(path, body)
        match call.body.get("response_format"):
            case {"json_schema": {"schema": schema}}:
                return Call(path, {**call.body, "response_format": {"type": "json", "value": schema}})
        return call

    def tokenize(self, body: Json) -> Call:
        return Call("/tokenize", {"inputs": body["content"], "add_special_tokens": body.get("add_special", True)})

    def tokens(self, reply: Json) -> JsonValue:
        found = reply.get("tokens")
        return [one["id"] for one in found if isinstance(one, dict)] if isinstance(found, list) else []

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
    experimental="its arguments and replies are from its documentation, and nobody has run it with oprel yet",
)
