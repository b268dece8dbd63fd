"""What an engine gets when it is started, beside its arguments."""

from dataclasses import replace
from pathlib import Path

import pytest

from oprel.core.completion import LoadOptions, Mode
from oprel.runtime.backends.launching import launch
from oprel.runtime.backends.registry import named
from oprel.runtime.confinement.limits import EngineLimits
from oprel.runtime.spec import EngineSpec, ModelFiles
from oprel.runtime.supervisor.child import RunDir

SPEC = EngineSpec(
    files=ModelFiles(Path("/models/llama")),
    socket=Path("/run/engine-1.sock"),
    load=LoadOptions(num_ctx=4000),
    mode=Mode.COMPLETION,
    pooling=None,
    parallel=1,
    cells=4000,
    slot_context=4000,
    key_type="f16",
    value_type="f16",
    flash_attention="auto",
    cache_ram_mib=512,
    limits=EngineLimits(reserved=1, memory=2),
)


def run_dir(backend: str = "llama.cpp", spec: EngineSpec = SPEC, **variables: str) -> RunDir:
    return launch(
        named(backend), spec, "label", load_timeout=1.0, stall_timeout=1.0, extra_environment=variables
    ).run_dir


def test_llama_cpp_has_no_network_and_the_limits_of_its_plan() -> None:
    assert run_dir().limits == EngineLimits(reserved=1, memory=2, offline=True)


@pytest.mark.parametrize("arguments", [("--rpc", "box:50052"), ("--rpc=box:50052",)])
def test_one_that_computes_on_other_machines_has_a_network(arguments: tuple[str, ...]) -> None:
    assert not run_dir(spec=replace(SPEC, extra_arguments=arguments)).limits.offline


@pytest.mark.parametrize("backend", ["vllm", "tgi", "transformers"])
def test_engines_of_several_processes_or_on_ports_have_one(backend: str) -> None:
    assert not run_dir(backend, replace(SPEC, port=8123, key="k")).limits.offline


def test_what_the_user_sets_replaces_what_the_engine_would_get() -> None:
    assert run_dir(GOMP_SPINCOUNT="7", MINE="1").environment == {"GOMP_SPINCOUNT": "7", "MINE": "1"}
