"""What engines say of their buffers. The lines are those of real engines."""

from oprel.runtime.backends.engines.llama_log import MIB, buffers_of
from oprel.telemetry.calibration.learning import Buffers

WINDOWS = """\
0.03.466.468 I load_tensors:   CPU_Mapped model buffer size =  1013.54 MiB
0.03.474.032 I llama_context:        CPU  output buffer size =     4.00 MiB
0.03.474.169 I llama_kv_cache:        CPU KV buffer size =    32.00 MiB
0.03.487.006 I llama_kv_cache: size =   32.00 MiB (  8192 cells,   4 layers,  4/1 seqs), K (f16):   16.00 MiB
0.03.487.189 I llama_kv_cache:        CPU KV buffer size =    55.00 MiB
0.03.536.709 I sched_reserve:        CPU compute buffer size =    62.28 MiB
""".splitlines()
OFFLOADED = """\
load_tensors:   CPU_Mapped model buffer size =   281.81 MiB
load_tensors:        CUDA0 model buffer size =  4403,49 MiB
llama_kv_cache:      CUDA0 KV buffer size =   512.00 MiB
llama_memory_recurrent:      CUDA0 RS buffer size =    10.00 MiB
sched_reserve:      CUDA0 compute buffer size =   258.50 MiB
sched_reserve:  CUDA_Host compute buffer size =    16.01 MiB
llama_context:  CUDA_Host  output buffer size =     0.49 MiB
""".splitlines()


def test_two_caches_of_one_model_are_both_counted() -> None:
    found = buffers_of(WINDOWS)
    assert found == Buffers(weights=round(1013.54 * MIB), kv=87 * MIB, compute=round(62.28 * MIB), output=4 * MIB)
    assert found.total == sum((found.weights, found.kv, found.compute, found.output))


def test_what_gpus_hold_is_told_apart() -> None:
    found = buffers_of(OFFLOADED)
    assert found and (found.kv, found.state) == (512 * MIB, 10 * MIB)
    gpu = (4403.49, 512.0, 10.0, 258.5)
    assert abs(found.on_gpus - sum(gpu) * MIB) < 4


def test_a_dry_run_before_the_load_does_not_count() -> None:
    assert buffers_of([*OFFLOADED, *OFFLOADED]) == buffers_of(OFFLOADED)


def test_a_log_without_them_tells_nothing() -> None:
    assert buffers_of(["loading model", "listening on unix:///run/e.sock"]) is None
