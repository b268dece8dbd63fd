"""Why an engine ended, from its status and the end of its log. Lines are llama.cpp's unless a comment names another."""

import signal
import subprocess
import sys

import pytest

from oprel.runtime.exits import Exit, MemoryPlace, Reason, Restart, classify_exit, fatal_error

LINES = [
    *(
        (Reason.OUT_OF_MEMORY, line)
        for line in (
            "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 8192.00 MiB: cudaMalloc failed: out of memory",
            "alloc_tensor_range: failed to allocate CPU buffer of size 33554432",
            "llama_model_load: error loading model: unable to allocate CUDA0 buffer",
            "ggml_aligned_malloc: Cannot allocate memory",
            "terminate called after throwing an instance of 'std::bad_alloc'",
        )
    ),
    *(
        (Reason.UNKNOWN_ARCHITECTURE, line)
        for line in (
            "llama_model_load: error loading model: unknown model architecture: 'llama9'",
            "llama_model_load: error loading model vocabulary: unknown pre-tokenizer type: 'new'",
        )
    ),
    *(
        (Reason.FILE_CORRUPT, line)
        for line in (
            "llama_model_load: error loading model: tensor 'output.weight' data is not within the file bounds",
            "gguf_init_from_reader: invalid magic characters: 'GGUX', expected 'GGUF'",
            "llama_model_load: error loading model: model is corrupted or incomplete",
            "gguf_init_from_file_impl: failed to read key-value pairs",
            "llama_model_load: error loading model: missing tensor 'output_norm.weight'",
        )
    ),
    *(
        (Reason.BAD_FLAG, line)
        for line in (
            "error: invalid argument: --nonesuch",
            "llama-server: error: unrecognized arguments: --nonesuch",  # the wheel's parser
            "llama-server: error: argument -fa/--flash-attn: invalid choice: 'maybe'",
        )
    ),
    (Reason.BIND_FAILED, "start: couldn't bind HTTP server socket, hostname: /run/x.sock, port: 0"),
]


@pytest.mark.parametrize(("reason", "line"), LINES)
def test_the_line_with_the_reason_is_detected_among_others(reason: Reason, line: str) -> None:
    ended = classify_exit(1, ["0.00.001.112 I srv  llama_server: initializing ...", line, "exiting due to an error"])
    assert (ended.reason, ended.detail) == (reason, line)
    assert ended.advice


def test_a_truncated_model_is_recognised_by_its_log() -> None:
    tensor = "tensor 'blk.0.ffn_gate.weight' data is not within the file bounds, model is corrupted or incomplete"
    log = [
        "0.00.007.273 E llama_model_load_from_file_impl: failed to load model",
        f"0.00.007.960 E llama_model_load: error loading model: {tensor}",
        "0.00.007.970 E cmn  common_init_: failed to load model '/models/cut.gguf'",
        "error: Failed to init server, please check the input params.",
    ]
    ended = classify_exit(1, log)
    assert (ended.reason, ended.detail) == (Reason.FILE_CORRUPT, f"llama_model_load: error loading model: {tensor}")


@pytest.mark.parametrize(
    ("line", "bare"),
    [
        (
            "0.00.002.547 E srv         start: couldn't bind HTTP server socket",
            "start: couldn't bind HTTP server socket",
        ),
        ("0.01.2 E llama_model_load: missing tensor 'x'", "llama_model_load: missing tensor 'x'"),
        ("  CUDA error: out of memory", "CUDA error: out of memory"),
    ],
)
def test_a_line_is_shown_without_time_level_and_module(line: str, bare: str) -> None:
    assert classify_exit(1, [line]).detail == bare


def test_the_first_line_of_level_e_is_the_cause_also_where_another_line_came_into_it() -> None:
    log = ["0.00.056.151 error: Failed to init server", "E mtmd_init: mismatch between text model and mmproj", "more"]
    assert classify_exit(1, log).detail == "exit status 1: mtmd_init: mismatch between text model and mmproj"


def test_the_cause_counts_more_than_what_follows_from_it() -> None:
    log = ["failed to allocate compute buffers", "error loading model: missing tensor 'x'", "couldn't bind"]
    assert classify_exit(-signal.SIGABRT, log).reason is Reason.OUT_OF_MEMORY


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        *((number, Reason.KILLED) for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)),
        *((number, Reason.CRASH_SIGNAL) for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE)),
    ],
)
def test_a_signal_is_named(number: signal.Signals, reason: Reason) -> None:
    ended = classify_exit(-number, ["0.00.878.327 I slot release: stop processing"])
    assert (ended.reason, ended.detail) == (reason, number.name)


def test_the_status_is_that_of_a_real_process() -> None:
    program = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert classify_exit(subprocess.run([sys.executable, "-c", program]).returncode, []).reason is Reason.KILLED


@pytest.mark.parametrize(
    ("status", "line", "detail"),
    [
        (-signal.SIGILL, "", "SIGILL"),
        (127, "llama-server: error while loading shared libraries: libcudart.so.12: cannot open", "libcudart.so.12"),
        (1, "/lib/libc.so.6: version `GLIBC_2.38' not found (required by llama-server)", "GLIBC_2.38"),
        (1, "/lib/libstdc++.so.6: version `GLIBCXX_3.4.32' not found", "GLIBCXX_3.4.32"),
        (127, "", "a library is missing"),
    ],
)
def test_an_engine_for_another_machine_is_not_taken_for_a_bad_model(status: int, line: str, detail: str) -> None:
    ended = classify_exit(status, [line, "error: invalid argument"])
    assert ended.reason is Reason.UNUSABLE_ENGINE
    assert detail in ended.detail


def test_an_unknown_exit_comes_with_the_last_line() -> None:
    ended = classify_exit(3, ["first", "0.00.002.621 E srv  llama_server: exiting for no reason"])
    assert (ended.reason, ended.detail) == (Reason.UNKNOWN, "exit status 3: llama_server: exiting for no reason")
    assert classify_exit(0, []).detail == "exit status 0"


def test_the_first_error_says_more_than_the_last_line() -> None:
    log = [
        "0.01.203.112 I load: loading",
        "0.01.203.114 E mismatch between text model (n_embd = 64) and mmproj (n_embd = 32)",
        "0.01.203.115 E srv load_model: failed to load",
        "error: Failed to init server, please check the input params.",
    ]
    assert "mismatch between text model" in classify_exit(1, log).detail


def test_a_kill_while_memory_ran_out_is_out_of_memory() -> None:
    assert classify_exit(-9, [], memory_ran_out=True).reason is Reason.OUT_OF_MEMORY
    assert classify_exit(-15, [], memory_ran_out=True).reason is Reason.KILLED
    assert classify_exit(-9, []).reason is Reason.KILLED


# GPUs

VULKAN_FULL = [
    "ggml_vulkan: Device memory allocation of size 1073741824 failed.",
    "ggml_vulkan: vk::Device::allocateMemory: ErrorOutOfDeviceMemory",
    "alloc_tensor_range: failed to allocate Vulkan0 buffer of size 1073741824",
]
ABORTED = [
    "[New LWP 4242]",
    "[Thread debugging using libthread_db enabled]",
    'Using host libthread_db library "/lib/x86_64-linux-gnu/libthread_db.so.1".',
    "0x00007f0e6c3ecc17 in wait4 () from /lib/x86_64-linux-gnu/libc.so.6",
    *(f"#{number}  0x00007f0e6c3ecc17 in ggml_abort () from libggml-base.so" for number in range(14)),
    "[Inferior 1 (process 4241) detached]",
]
WITHOUT_GDB = [*(f"{number}: 0x7f0e6c3ecc17 ggml_abort" for number in range(12)), "llama-server(+0x5a2b) [0x55f0c0]"]


@pytest.mark.parametrize(
    ("line", "memory"),
    [
        ("ggml_vulkan: vk::Device::allocateMemory: ErrorOutOfDeviceMemory", MemoryPlace.DEVICE),
        ("cudaMalloc failed: out of memory", MemoryPlace.DEVICE),
        ("0.2 E CUDA error: out of memory", MemoryPlace.DEVICE),
        ("ROCm error: out of memory", MemoryPlace.DEVICE),
        ("llama_model_load: error loading model: unable to allocate CUDA1 buffer", MemoryPlace.DEVICE),
        ("ggml_gallocr_reserve_n_impl: failed to allocate Vulkan0 buffer of size 33554432", MemoryPlace.DEVICE),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", MemoryPlace.DEVICE),
        ("alloc_tensor_range: failed to allocate CPU buffer of size 33554432", MemoryPlace.HOST),
        ("alloc_tensor_range: failed to allocate Vulkan_Host buffer of size 33554432", MemoryPlace.HOST),
        ("terminate called after throwing an instance of 'std::bad_alloc'", MemoryPlace.HOST),
        ("llama_init_from_model: failed to allocate buffer for kv cache", None),
    ],
)
def test_the_memory_that_ran_out_is_known_by_what_was_allocated(line: str, memory: MemoryPlace | None) -> None:
    ended = classify_exit(1, [line])
    assert (ended.reason, ended.memory) == (Reason.OUT_OF_MEMORY, memory)
    assert ("GPU" in ended.advice) == (memory is MemoryPlace.DEVICE)


def test_memory_that_the_system_ran_out_of_is_the_machines() -> None:
    assert classify_exit(-9, VULKAN_FULL[:0], memory_ran_out=True).memory is MemoryPlace.HOST


@pytest.mark.parametrize("below", [ABORTED, WITHOUT_GDB])
def test_the_cause_is_found_above_a_backtrace(below: list[str]) -> None:
    ended = classify_exit(-signal.SIGABRT, [*VULKAN_FULL[:2], *below])
    assert (ended.reason, ended.memory) == (Reason.OUT_OF_MEMORY, MemoryPlace.DEVICE)
    log = ["CUDA error: an illegal memory access was encountered", "ggml-cuda.cu:103: CUDA error", *below]
    assert classify_exit(-signal.SIGABRT, log).reason is Reason.DEVICE_FAILED


def test_a_lost_device_is_no_crash_of_the_engine() -> None:
    thrown = "terminate called after throwing an instance of 'vk::DeviceLostError'"
    log = ["ggml_vulkan: device lost on Vulkan0", thrown]
    assert classify_exit(-signal.SIGABRT, log).reason is Reason.DEVICE_LOST


@pytest.mark.parametrize(
    ("message", "log", "reason"),
    [
        ("decode() failed: vk::Queue::submit: ErrorDeviceLost", [], Reason.DEVICE_LOST),
        ("decode() failed: vk::Device::allocateMemory: ErrorOutOfDeviceMemory", [], Reason.OUT_OF_MEMORY),
        ("Compute error.", VULKAN_FULL, Reason.OUT_OF_MEMORY),
        ("failed to process mtmd chunk", VULKAN_FULL, Reason.OUT_OF_MEMORY),
        ("Compute error.", ["0.1 E srv decode: Compute error. off = 0"], Reason.CRASH_SIGNAL),
    ],
)
def test_an_engine_that_can_compute_no_more_has_ended(message: str, log: list[str], reason: Reason) -> None:
    ended = fatal_error(message, log)
    assert ended and ended.reason is reason


@pytest.mark.parametrize(
    "message", ["the request exceeds the available context size", "failed to process mtmd chunk", "out of memory"]
)
def test_an_engine_that_refuses_goes_on(message: str) -> None:
    assert fatal_error(message, ["0.1 I srv update_slots: all slots are idle"]) is None


WITH_PATTERN = {
    Reason.OUT_OF_MEMORY,
    Reason.DEVICE_LOST,
    Reason.UNKNOWN_ARCHITECTURE,
    Reason.FILE_CORRUPT,
    Reason.BAD_FLAG,
    Reason.BIND_FAILED,
    Reason.DEVICE_FAILED,
}


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_carries_its_consequences(reason: Reason) -> None:
    consequences = reason.consequences
    assert consequences.advice.endswith(".")
    assert bool(consequences.pattern) == (reason in WITH_PATTERN)
    ended = Exit(reason, "", "")
    assert (ended.restart, ended.is_blamable) == (consequences.restart, consequences.is_blamable)
    assert ended.repeats == (reason is Reason.OUTGREW_PLAN)


def test_the_names_on_the_wire() -> None:
    assert [reason.value for reason in Reason] == [reason.name.lower() for reason in Reason]


def test_only_ends_that_a_request_can_cause_are_held_against_it() -> None:
    assert {reason for reason in Reason if not Exit(reason, "", "").is_blamable} == {
        Reason.KILLED,
        Reason.SOCKET_LOST,
        Reason.OUT_OF_MEMORY,
        Reason.DEVICE_LOST,
    }


@pytest.mark.parametrize(
    ("restart", "reasons"),
    [
        (
            Restart.BACK_OFF,
            {
                Reason.BIND_FAILED,
                Reason.CRASH_SIGNAL,
                Reason.DEVICE_FAILED,
                Reason.DEVICE_LOST,
                Reason.HUNG,
                Reason.OUTGREW_PLAN,
                Reason.UNKNOWN,
            },
        ),
        (Restart.STEP_DOWN, {Reason.OUT_OF_MEMORY}),
        (Restart.NEXT_BINARY, {Reason.UNUSABLE_ENGINE}),
        (Restart.HOPELESS, {Reason.UNKNOWN_ARCHITECTURE, Reason.FILE_CORRUPT, Reason.BAD_FLAG}),
        (Restart.EXTERNAL, {Reason.KILLED, Reason.SOCKET_LOST}),
    ],
)
def test_the_restart_class_of_each_reason(restart: Restart, reasons: set[Reason]) -> None:
    assert {reason for reason in Reason if reason.consequences.restart is restart} == reasons
