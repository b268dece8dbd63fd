"""The engine that is always installed: llama.cpp's server from the `xllamacpp` wheel, with llama-server's flags.

It runs as a separate process (`python -m oprel.runtime.binaries.wheel --model m.gguf --host /run/x.sock`), so that a
crash of the extension ends only this process. The wheel's parameters are llama.cpp's `common_params`; the flags that
oprel passes have llama-server's names and defaults.
"""

import argparse
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

LOG_SECONDS = 0.2  # for the engine's own thread to write the lines of its log, before the process ends
MISSING_LIBRARY = 127  # the exit status of a program whose library is missing

MIB = 1024**2
KV_TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="llama-server", allow_abbrev=False)
    parser.add_argument("--version", action="store_true")
    parser.add_argument("--list-devices", action="store_true")
    parser.add_argument("-m", "--model", metavar="FILE")
    parser.add_argument("-a", "--alias")
    parser.add_argument("--host", default="127.0.0.1", help="an address, or the path of a Unix socket ending in .sock")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("-c", "--ctx-size", type=int, default=0)
    parser.add_argument("-b", "--batch-size", type=int, default=2048)
    parser.add_argument("-ub", "--ubatch-size", type=int, default=512)
    parser.add_argument("-np", "--parallel", type=int, default=4)
    parser.add_argument("-kvu", "--kv-unified", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--kv-unified-per-slot", type=int, default=0)
    parser.add_argument("-ngl", "--n-gpu-layers", type=int, default=-1)
    parser.add_argument("-mg", "--main-gpu", type=int, default=0)
    parser.add_argument("-t", "--threads", type=int, default=-1)
    parser.add_argument("-tb", "--threads-batch", type=int, default=-1)
    parser.add_argument("-ctk", "--cache-type-k", choices=KV_TYPES, default="f16")
    parser.add_argument("-ctv", "--cache-type-v", choices=KV_TYPES, default="f16")
    parser.add_argument("-fa", "--flash-attn", choices=("on", "off", "auto"), default="auto")
    parser.add_argument("--mmap", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--embedding", "--embeddings", action="store_true")
    parser.add_argument("--context-shift", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--chat-template-file", metavar="FILE")
    parser.add_argument("--lora", action="append", default=[], metavar="FILE")
    parser.add_argument("-mm", "--mmproj", metavar="FILE")
    parser.add_argument("--mmproj-offload", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--pooling", choices=("none", "mean", "cls", "last", "rank"))
    parser.add_argument("--cache-ram", type=int, default=8192, metavar="MiB")
    parser.add_argument("-ctxcp", "--ctx-checkpoints", type=int, default=32)
    parser.add_argument("--cache-idle-slots", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--swa-full", action="store_true")
    parser.add_argument("-lv", "--log-verbosity", type=int, default=3)
    parser.add_argument("--offline", action="store_true")
    parser.add_argument("--ui", action=argparse.BooleanOptionalAction, default=True)
    return parser


def to_params(llama: Any, options: argparse.Namespace) -> Any:
    """llama.cpp's parameter struct. `Any`: the extension module has no types."""
    params = llama.CommonParams()
    params.model.path = options.model
    params.model_alias = {options.alias} if options.alias else set()
    params.hostnames, params.port = [options.host], options.port
    params.n_parallel, params.kv_unified = options.parallel, options.kv_unified
    params.kv_unified_per_slot = options.kv_unified_per_slot
    params.n_ctx = options.ctx_size or options.parallel * options.kv_unified_per_slot
    params.n_batch, params.n_ubatch = options.batch_size, options.ubatch_size
    params.n_gpu_layers, params.main_gpu = options.n_gpu_layers, options.main_gpu
    params.cpuparams.n_threads, params.cpuparams_batch.n_threads = options.threads, options.threads_batch
    params.cache_type_k, params.cache_type_v = (
        _kv_type(llama, name) for name in (options.cache_type_k, options.cache_type_v)
    )
    attention = {"auto": "AUTO", "on": "ENABLED", "off": "DISABLED"}[options.flash_attn]
    params.flash_attn_type = llama.llama_flash_attn_type[f"LLAMA_FLASH_ATTN_TYPE_{attention}"]
    if not options.mmap:
        params.load_mode = llama.llama_load_mode.LLAMA_LOAD_MODE_NONE
    params.embedding, params.ctx_shift = options.embedding, options.context_shift
    if options.chat_template_file:
        params.chat_template = Path(options.chat_template_file).read_text(encoding="utf-8")
    if options.mmproj:
        params.mmproj.path, params.mmproj_use_gpu = options.mmproj, options.mmproj_offload
    params.lora_adapters = [_adapter(llama, path) for path in options.lora]
    if options.pooling:
        params.pooling_type = llama.llama_pooling_type[f"LLAMA_POOLING_TYPE_{options.pooling.upper()}"]
    params.cache_ram_mib, params.n_ctx_checkpoints = options.cache_ram, options.ctx_checkpoints
    params.cache_idle_slots = options.cache_idle_slots
    params.swa_full, params.verbosity = options.swa_full, options.log_verbosity
    params.offline, params.ui = options.offline, options.ui
    return params


def _devices(llama: Any) -> list[str]:
    """The GPUs that this build of the wheel finds, in llama-server's words."""
    kinds = llama.ggml_backend_dev_type
    gpus = (kinds.GGML_BACKEND_DEVICE_TYPE_GPU, kinds.GGML_BACKEND_DEVICE_TYPE_IGPU)
    return [
        f"  {device['name']}: {device['description']}"
        f" ({device['memory_total'] // MIB} MiB, {device['memory_free'] // MIB} MiB free)"
        for device in llama.get_device_info()
        if device["type"] in gpus
    ]


def _adapter(llama: Any, path: str) -> Any:
    adapter = llama.CommonAdapterLoraInfo()
    adapter.path, adapter.scale = path, 1.0
    return adapter


def _kv_type(llama: Any, name: str) -> Any:
    return llama.ggml_type[f"GGML_TYPE_{name.upper()}"]


def main(arguments: list[str] | None = None) -> int:
    parser = build_parser()
    options = parser.parse_args(arguments)
    if sys.platform != "win32":
        # Before the engine's threads start and inherit the mask: only sigwait below receives them.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        import xllamacpp as llama
    except ImportError as error:
        print(f"error while loading shared libraries: {error}", file=sys.stderr)  # noqa: T201 - an engine's log
        return MISSING_LIBRARY
    if options.version:
        print(f"version: xllamacpp {llama.__version__}")  # noqa: T201 - what llama-server does
        return 0
    if options.list_devices:
        print("\n".join(["Available devices:", *_devices(llama)]))  # noqa: T201 - what llama-server does
        return 0
    if not options.model:
        parser.error("--model is required")
    try:
        server = llama.Server(to_params(llama, options))
    except RuntimeError as error:
        time.sleep(LOG_SECONDS)
        print(f"error: {error}", file=sys.stderr, flush=True)  # noqa: T201 - an engine's log
        os._exit(1)
    if sys.platform == "win32":
        threading.Event().wait()  # until its job is ended
    else:
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    print(f"stopping {server.listening_address}", file=sys.stderr, flush=True)  # noqa: T201 - an engine's log
    # The extension's C++ threads may still be decoding: end the process without running their destructors.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
