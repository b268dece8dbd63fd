"""llama-server: its arguments and quirks. Flags as of b11434 and b11549.

Unless the user places layers, oprel passes no `-ngl`, so that the engine places them with its own `--fit`, which `-ngl`
and similar flags disable (common/fit.cpp). An engine that ran out of a GPU's memory is told how many it may place.
"""

from dataclasses import replace

from oprel.core.completion import LoadOptions, Mode
from oprel.core.configuration.environment import child_environment
from oprel.core.settings import ModelSettings
from oprel.runtime.backends.backend import Backend
from oprel.runtime.spec import EngineSpec

# The lowest level at which the engine logs the sizes of its buffers.
VERBOSITY = 4

# How many rounds a thread of GNU's OpenMP waits in a loop before it sleeps. With its default of 300 000 it keeps a core
# from the very thread that it waits for, if another program is busy: 0.4 tokens/s beside a shell's loop on two cores.
# With 500 that is half of what an idle machine answers, on which they cost some percent.
SPINS = 500
SPINNING = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}

# Flag -> number of its values: flags that older builds lack, omitted there because they only limit or quieten.
DISPENSABLE = {
    "--kv-unified-per-slot": 1,
    "--cache-ram": 1,
    "--ctx-checkpoints": 1,
    "--no-cache-idle-slots": 0,
    "--log-verbosity": 1,
    "--split-mode": 1,
    "--tensor-split": 1,
    "--n-cpu-moe": 1,
    "--threads-batch": 1,
    "--swa-full": 0,
    "--offline": 0,
    "--no-ui": 0,
    "--context-shift": 0,
    "--no-mmproj-offload": 0,
}


def resolve(requested: LoadOptions, settings: ModelSettings, trained_ctx: int | None) -> LoadOptions:
    """The requested options, completed by the configured ones. The context is capped to the trained length."""
    defaults = LoadOptions(
        num_ctx=settings.ctx_size or None,
        num_batch=settings.batch_size or None,
        num_gpu=settings.n_gpu_layers if settings.n_gpu_layers >= 0 else None,
        num_thread=settings.n_threads or None,
    )
    values = vars(requested).items()
    options = LoadOptions(**{name: getattr(defaults, name) if value is None else value for name, value in values})
    if options.num_ctx is not None and trained_ctx:
        return replace(options, num_ctx=min(options.num_ctx, trained_ctx))
    return options


def environment(spec: EngineSpec) -> dict[str, str]:
    """What is added to the engine's environment; nothing of what the user exported is replaced."""
    return {} if child_environment().keys() & SPINNING else {"GOMP_SPINCOUNT": str(SPINS)}


def arguments(spec: EngineSpec, flags: frozenset[str]) -> list[str]:
    """llama-server's arguments for `spec`. `flags` are those of the program."""
    load, files = spec.load, spec.files
    # Without layers on it, a GPU still computes large batches, and needs memory for that.
    leaves_gpus = load.num_gpu == 0 and "--device" in flags
    options = {
        "--model": files.weights,
        "--mmproj": files.projector,
        "--chat-template-file": spec.template_file if files.chat_template else None,
        "--host": spec.socket,
        "--port": 0,
        "--parallel": spec.parallel,
        "--ctx-size": spec.cells,
        "--kv-unified-per-slot": spec.slot_context if spec.unified and "--kv-unified-per-slot" in flags else None,
        "--batch-size": load.num_batch,
        "--ubatch-size": spec.ubatch,
        "--device": "none" if leaves_gpus else None,
        "--n-gpu-layers": None if leaves_gpus else load.num_gpu,
        "--n-cpu-moe": spec.cpu_experts or None,
        "--tensor-split": ",".join(f"{part:.0f}" for part in spec.split) or None,
        "--split-mode": "none" if spec.one_gpu and not leaves_gpus else None,
        "--main-gpu": None if leaves_gpus else load.main_gpu,
        "--threads": load.num_thread,
        "--threads-batch": spec.batch_threads,
        "--cache-type-k": spec.key_type,
        "--cache-type-v": spec.value_type,
        "--flash-attn": spec.flash_attention,
        "--pooling": spec.pooling,
        "--cache-ram": spec.cache_ram_mib,
        "--ctx-checkpoints": spec.checkpoints,
        "--log-verbosity": VERBOSITY,
    }
    switches = {
        "--kv-unified": spec.unified,
        # Else each request saves the conversations of all idle slots and clears those (#16391 and later).
        "--no-cache-idle-slots": spec.mode is Mode.COMPLETION,
        "--swa-full": spec.swa_full,
        "--context-shift": spec.mode is Mode.COMPLETION,
        "--embedding": spec.mode is not Mode.COMPLETION,
        "--no-mmap": load.use_mmap is False,
        "--no-mmproj-offload": spec.projector_on_cpu or bool(leaves_gpus and files.projector),
        "--offline": True,
        "--no-ui": True,
    }
    pairs = [item for flag, value in options.items() if value is not None for item in (flag, str(value))]
    pairs += [item for adapter in files.adapters for item in ("--lora", str(adapter))]
    switched_on = [flag for flag, is_on in switches.items() if is_on]
    return [*_supported([*pairs, *switched_on], flags), *spec.extra_arguments]


def _supported(arguments: list[str], flags: frozenset[str]) -> list[str]:
    """The arguments without dispensable flags that the program lacks."""
    kept = list(arguments)
    for flag, values in DISPENSABLE.items():
        if flag in kept and flag not in flags:
            at = kept.index(flag)
            del kept[at : at + 1 + values]
    return kept


BACKEND = Backend(
    name="llama.cpp",
    title="llama.cpp",
    formats=frozenset(("gguf",)),
    suits={"nvidia": 1.0, "amd": 1.0, "apple": 1.0, "intel": 0.9, "other": 0.9, "cpu": 0.9},
    executables=("llama-server",),
    install="pip install xllamacpp, or llama.cpp's llama-server on PATH",
    arguments=arguments,
    environment=environment,
    modes=frozenset(Mode),
    spills=True,
    maps=True,
    shares_cells=True,
    probes=True,
    rests=True,
    offline=True,
    is_planned=True,
)
