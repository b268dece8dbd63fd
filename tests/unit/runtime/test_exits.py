"""Why an engine ended, from its status and the end of its log. Lines are llama.cpp's unless a comment names another."""

import signal
import subprocess
import sys

import pytest

from oprel.runtime.exits import Exit, Reason, Restart, classify_exit

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


WITH_PATTERN = {
    Reason.OUT_OF_MEMORY,
    Reason.UNKNOWN_ARCHITECTURE,
    Reason.FILE_CORRUPT,
    Reason.BAD_FLAG,
    Reason.BIND_FAILED,
}


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_carries_its_consequences(reason: Reason) -> None:
    consequences = reason.consequences
    assert consequences.advice.endswith(".")
    assert bool(consequences.pattern) == (reason in WITH_PATTERN)
    ended = Exit(reason, "", "")
    assert (ended.restart, ended.is_blamable) == (consequences.restart, consequences.is_blamable)


def test_the_names_on_the_wire() -> None:
    assert [reason.value for reason in Reason] == [reason.name.lower() for reason in Reason]


def test_only_ends_that_a_request_can_cause_are_held_against_it() -> None:
    assert {reason for reason in Reason if not Exit(reason, "", "").is_blamable} == {
        Reason.KILLED,
        Reason.OUT_OF_MEMORY,
    }


@pytest.mark.parametrize(
    ("restart", "reasons"),
    [
        (Restart.BACK_OFF, {Reason.BIND_FAILED, Reason.CRASH_SIGNAL, Reason.HUNG, Reason.UNKNOWN}),
        (Restart.STEP_DOWN, {Reason.OUT_OF_MEMORY}),
        (Restart.NEXT_BINARY, {Reason.UNUSABLE_ENGINE}),
        (Restart.HOPELESS, {Reason.UNKNOWN_ARCHITECTURE, Reason.FILE_CORRUPT, Reason.BAD_FLAG}),
        (Restart.EXTERNAL, {Reason.KILLED}),
    ],
)
def test_the_restart_class_of_each_reason(restart: Restart, reasons: set[Reason]) -> None:
    assert {reason for reason in Reason if reason.consequences.restart is restart} == reasons
