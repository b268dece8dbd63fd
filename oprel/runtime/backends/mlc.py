"""`mlc_llm serve`: models that MLC has compiled, on almost any GPU. As of its documentation of 2026."""

from collections.abc import Mapping

from oprel.runtime.backends.backend import Backend, Listens
from oprel.runtime.backends.base import EngineSpec
from oprel.runtime.backends.dialect import Dialect


def arguments(spec: EngineSpec, flags: frozenset[str]) -> list[str]:
    length, batch = spec.load.num_ctx, spec.load.num_batch
    wanted: Mapping[str, object] = {
        "context_window_size": length,
        "max_num_sequence": spec.parallel,
        "max_total_seq_length": (length or 0) * spec.parallel,
        **({"prefill_chunk_size": batch} if batch else {}),
    }
    overrides = ";".join(f"{name}={value}" for name, value in wanted.items())
    model = str(spec.parts.weights)
    return ["serve", model, "--mode", "server", "--overrides", overrides, *spec.extra_arguments]


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
    dialect=Dialect(),
    experimental="its arguments and replies are from its documentation, and nobody has run it with oprel yet",
)
