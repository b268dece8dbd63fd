"""llama-server: its arguments and quirks, nothing else. Flags as of b11434 and b11549."""

from dataclasses import fields

from oprel.core.config import ModelSettings
from oprel.runtime.backends.base import EngineSpec, LoadOptions, Mode

# Flags that older builds do not know and that only limit or quieten: left out there.
DISPENSABLE = {
    "--kv-unified-per-slot": 1,
    "--cache-ram": 1,
    "--offline": 0,
    "--no-ui": 0,
    "--context-shift": 0,
    "--no-mmproj-offload": 0,
}


def resolve(asked: LoadOptions, settings: ModelSettings, trained_ctx: int | None) -> LoadOptions:
    """What the engine is started with: what was asked, else configured; the context capped to the trained length."""
    defaults = LoadOptions(
        num_ctx=settings.ctx_size,
        num_batch=settings.batch_size or None,
        num_gpu=settings.n_gpu_layers if settings.n_gpu_layers >= 0 else None,
        num_thread=settings.n_threads or None,
    )
    values = {entry.name: getattr(asked, entry.name) for entry in fields(LoadOptions)}
    chosen = {name: getattr(defaults, name) if value is None else value for name, value in values.items()}
    return LoadOptions(**chosen | {"num_ctx": min(chosen["num_ctx"], trained_ctx or chosen["num_ctx"])})


def arguments(spec: EngineSpec, flags: frozenset[str]) -> list[str]:
    """llama-server's arguments for `spec`; `flags` are those that the program knows."""
    load, parts = spec.load, spec.parts
    given = {
        "--model": parts.weights,
        "--mmproj": parts.projector,
        "--chat-template-file": spec.template_file if parts.chat_template else None,
        "--host": spec.socket,
        "--port": 0,
        "--parallel": spec.parallel,
        "--batch-size": load.num_batch,
        **_context(spec, flags),
        "--n-gpu-layers": load.num_gpu,
        "--main-gpu": load.main_gpu,
        "--threads": load.num_thread,
        "--cache-type-k": spec.kv_cache_type,
        "--cache-type-v": spec.kv_cache_type,
        "--flash-attn": spec.flash_attention,
        "--pooling": spec.pooling,
        "--cache-ram": spec.cache_ram_mib,
    }
    switches = {
        "--kv-unified": True,
        "--context-shift": spec.mode is Mode.COMPLETION,
        "--embedding": spec.mode is not Mode.COMPLETION,
        "--no-mmap": load.use_mmap is False,
        "--no-mmproj-offload": spec.projector_on_cpu,
        "--offline": True,
        "--no-ui": True,
    }
    pairs = [item for flag, value in given.items() if value is not None for item in (flag, str(value))]
    pairs += [item for adapter in parts.adapters for item in ("--lora", str(adapter))]
    return _known(pairs + [flag for flag, wanted in switches.items() if wanted], flags)


def _context(spec: EngineSpec, flags: frozenset[str]) -> dict[str, int | None]:
    """Slots share one pool of cells in which each may use the whole of its own num_ctx."""
    length = spec.load.num_ctx or 0
    # A pooled embedding, or a score, needs a whole input in one physical batch, which fits in a logical one.
    whole = {"--batch-size": length, "--ubatch-size": length} if spec.mode is not Mode.COMPLETION else {}
    per_slot = {"--kv-unified-per-slot": length} if "--kv-unified-per-slot" in flags else {}
    return {"--ctx-size": length * spec.parallel, **per_slot, **whole}


def _known(arguments: list[str], flags: frozenset[str]) -> list[str]:
    kept = list(arguments)
    for flag, values in DISPENSABLE.items():
        if flag in kept and flag not in flags:
            at = kept.index(flag)
            del kept[at : at + 1 + values]
    return kept
