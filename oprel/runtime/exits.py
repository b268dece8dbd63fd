"""Why an engine ended: its exit status and last log lines, classified as a reason with advice. Pure.

A reason is one entry of `Reason`: what identifies it and what follows from it. The phrases are those of llama.cpp's log
(builds b11434 and b11549 were run), of the Python engines and of the dynamic loader.
"""

import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Self

from oprel.runtime.binaries.engine_binaries import unusable
from oprel.utils.process import systems
from oprel.utils.text import human_size


class Restart(Enum):
    """How to go on after an engine ended."""

    BACK_OFF = auto()  # start it again, the first time at once, then after a wait that doubles
    STEP_DOWN = auto()  # start it again with more memory free, or with smaller settings
    NEXT_BINARY = auto()  # set the program aside and start the next one
    HOPELESS = auto()  # it will end in the same way: at most one start a minute
    EXTERNAL = auto()  # something else ended it: if it was serving, start it at once


@dataclass(frozen=True, kw_only=True)
class Consequences:
    """`pattern` matches the log lines that identify the reason; `is_blamable`: a request may be to blame.

    `repeats`: a request that was alone in the engine is to blame, and another engine would end in the same way.
    """

    advice: str
    pattern: str = ""
    restart: Restart = Restart.BACK_OFF
    is_blamable: bool = True
    repeats: bool = False


class Reason(Enum):
    """The value is the reason's name on the wire. If the log fits several reasons, the first one counts."""

    _value_: str
    consequences: Consequences

    def __new__(cls, name: str, consequences: Consequences) -> Self:
        member = object.__new__(cls)
        member._value_ = name
        member.consequences = consequences
        return member

    UNUSABLE_ENGINE = (
        "unusable_engine",
        Consequences(
            advice="Install an engine built for this machine; oprel uses the next one it finds.",
            restart=Restart.NEXT_BINARY,
        ),
    )
    OUT_OF_MEMORY = (
        "out_of_memory",
        Consequences(
            advice="Use a smaller context (num_ctx) or a smaller quantization.",
            pattern=r"out of (device |host )?memory|outof(device|host)memory|failed to allocate|unable to allocate"
            r"|cannot allocate memory|bad_alloc"
            r"|no available memory for the cache|larger than the available KV cache memory",
            restart=Restart.STEP_DOWN,
            is_blamable=False,
        ),
    )
    DEVICE_LOST = (
        "device_lost",
        Consequences(
            advice="The driver reset the GPU, or it is gone. Ask again; if it repeats, update the driver.",
            pattern=r"device ?lost|fallen off the bus|device (was )?removed",
            is_blamable=False,
        ),
    )
    UNKNOWN_ARCHITECTURE = (
        "unknown_architecture",
        Consequences(
            advice="The engine is older than the model: install a newer llama-server or xllamacpp.",
            pattern=r"unknown model architecture|unknown pre-tokenizer type|unsupported model architecture"
            r"|does not recognize this architecture|architectures? .* (is|are) not supported",
            restart=Restart.HOPELESS,
        ),
    )
    FILE_CORRUPT = (
        "file_corrupt",
        Consequences(
            advice="The file is damaged or was not downloaded completely: get it again.",
            pattern=r"not within (the )?file bounds|invalid magic|corrupted or incomplete|failed to read"
            r"|missing tensor",
            restart=Restart.HOPELESS,
        ),
    )
    BAD_FLAG = (
        "bad_flag",
        Consequences(
            advice="The engine does not know an option oprel gave: install a newer llama-server or xllamacpp.",
            pattern=r"invalid argument|unrecognized arguments|error: argument|unknown argument",
            restart=Restart.HOPELESS,
        ),
    )
    BIND_FAILED = (
        "bind_failed",
        Consequences(
            advice="The engine's socket could not be made: check that OPREL_HOME is writable.",
            pattern=r"couldn't bind|address already in use",
        ),
    )
    KILLED = (
        "killed",
        Consequences(
            advice="Something outside oprel killed the engine, often the system for lack of memory. Ask again.",
            restart=Restart.EXTERNAL,
            is_blamable=False,
        ),
    )
    DEVICE_FAILED = (
        "device_failed",
        Consequences(
            advice="What the engine computed on the GPU failed. Ask again; if it repeats, update the driver, "
            "or run without the GPU (num_gpu 0).",
            pattern=r"\b(CUDA|ROCm|HIP|MUSA|SYCL|CANN) error|vk::\w*(error|::)|ggml_vulkan: .*(error|fail)"
            r"|ggml_metal_\w+: error|command buffer \d+ failed|GGML_ASSERT.*ggml-(cuda|vulkan|metal|sycl|hip)",
        ),
    )
    CRASH_SIGNAL = (
        "crash_signal",
        Consequences(
            advice="The engine crashed. Ask again to restart it; if it repeats, try another engine build.",
        ),
    )
    SOCKET_LOST = (
        "socket_lost",
        Consequences(
            advice="Something removed files from the run folder in OPREL_HOME. Ask again.",
            restart=Restart.EXTERNAL,
            is_blamable=False,
        ),
    )
    HUNG = (
        "hung",
        Consequences(
            advice="Ask again: a new engine is started. If it is only slow, raise stall_timeout; "
            "else try another build.",
        ),
    )
    OUTGREW_PLAN = (
        "outgrew_plan",
        Consequences(
            advice="A request or the model's chat template made the engine grow without end: change it, or the model. "
            "`oprel plan` shows what is reserved.",
            repeats=True,
        ),
    )
    UNKNOWN = (
        "unknown",
        Consequences(
            advice="See the daemon's log for the engine's last lines.",
        ),
    )


class MemoryPlace(Enum):
    """Which memory an engine ran out of."""

    DEVICE = "the GPU's memory"
    HOST = "the machine's memory"


# What runs out of memory names the place. Pinned memory, such as Vulkan_Host, is the machine's.
ON_HOST = re.compile(r"CPU|_Host\b|OutOfHostMemory|bad_alloc|SIGKILL|cannot allocate memory|aligned_malloc", re.I)
ON_DEVICE = re.compile(
    r"OutOfDeviceMemory|out of device memory|(cuda|hip|musa)(Malloc|Error|_error)|CUDA out of memory"
    r"|(CUDA|ROCm|HIP|MUSA|SYCL|CANN)\w* error"
    r"|\b(CUDA|ROCm|HIP|MUSA|SYCL|CANN|Vulkan|Metal|MTL|OpenCL|RPC|WebGPU)\d*\b.*buffer|ggml_vulkan|ggml_metal|UR_RESULT_ERROR_OUT_OF",
    re.I,
)
OF_DEVICES = frozenset({Reason.DEVICE_LOST, Reason.DEVICE_FAILED})
DEVICE_ADVICE = (
    "The GPU's memory ran out. Use a smaller context (num_ctx), fewer layers on the GPU (num_gpu), "
    "or a smaller quantization."
)


@dataclass(frozen=True)
class Exit:
    """`detail` is the log line that tells the reason, or the signal's name; `advice` is the next step for the user.

    `memory` is which one ran out, None if none did, or if the log does not tell.
    """

    reason: Reason
    detail: str
    advice: str
    memory: MemoryPlace | None = None

    @property
    def restart(self) -> Restart:
        return self.reason.consequences.restart

    @property
    def may_be_of_device(self) -> bool:
        """Whether an engine that uses a GPU may have failed because of the GPU, its driver or its code."""
        return self.reason in OF_DEVICES or self.reason is Reason.CRASH_SIGNAL

    @property
    def repeats(self) -> bool:
        """True if the request that was alone in the engine would end the next one too."""
        return self.reason.consequences.repeats

    @property
    def is_blamable(self) -> bool:
        """True if a request may have ended the engine."""
        return self.reason.consequences.is_blamable


FATAL = (Reason.OUT_OF_MEMORY, Reason.DEVICE_LOST, Reason.DEVICE_FAILED)
COMPUTE_ERROR = "Compute error"
# How llama-server begins the errors of computations that failed. It goes on all the same.
COMPUTATION_FAILED = re.compile(rf"{COMPUTE_ERROR}|\w*decode\(\) failed: |failed to process (mtmd chunk|image)")
# Lines of gdb, lldb and glibc's backtrace().
BACKTRACE = re.compile(
    r"^\s*(\*?\s*frame )?#\d+[ :]|^\[(New LWP|Thread debugging|Inferior|Current thread)|^Using host libthread_db"
    r"|\(\S*\+0x[0-9a-f]+\) ?\[0x[0-9a-f]+\]|^\d+: 0x|^0x[0-9a-f]+ in |debuginfo|^\d+\t(in )?\S|^This GDB |^\s*$"
    r"|ptrace: |^warning: .*\b(gdb|symbols|source file)|^Download failed|^WARNING: Using native backtrace"
)

# Without its time, where another line of the process came between: llama.cpp writes both one after the other.
OF_LEVEL_E = re.compile(r"(?:[\d.]+ )?E ")
RAISED = re.compile(r"(?:^|\s)((?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception): \S.*)")  # the end of a Python traceback
LAST_LINES = 10


def classify_exit(returncode: int, log: list[str], *, memory_ran_out: bool = False) -> Exit:
    """`returncode` as in subprocess: negative for a signal. `log` has the last lines, oldest first.

    `memory_ran_out`: the system has killed a process for lack of memory while this one ran.
    """
    reason, detail = _classify(returncode, log)
    if reason is Reason.KILLED and memory_ran_out and returncode == -systems.KILL:
        reason, detail = Reason.OUT_OF_MEMORY, "SIGKILL: the system ran out of memory"
    return _exit(reason, detail)


def fatal_error(message: str, log: list[str]) -> Exit | None:
    """The exit of an engine that goes on although it can compute no more, by an error that it answered with.

    None for errors after which it works. `log` has the last lines: some errors tell the cause only there.
    """
    if not COMPUTATION_FAILED.match(message):
        return None
    if match := _first_match([message], FATAL) or _first_match(_without_backtrace(log)[-LAST_LINES:], FATAL):
        return _exit(*match)
    return declared(message) if message.startswith(COMPUTE_ERROR) else None


def _exit(reason: Reason, detail: str) -> Exit:
    memory = _memory_of(detail) if reason is Reason.OUT_OF_MEMORY else None
    return Exit(reason, detail, DEVICE_ADVICE if memory is MemoryPlace.DEVICE else reason.consequences.advice, memory)


def _memory_of(detail: str) -> MemoryPlace | None:
    if ON_HOST.search(detail):
        return MemoryPlace.HOST
    return MemoryPlace.DEVICE if ON_DEVICE.search(detail) else None


SOCKET_LOST = Exit(Reason.SOCKET_LOST, "its socket was removed while it ran", Reason.SOCKET_LOST.consequences.advice)


def hung(detail: str, advice: str = Reason.HUNG.consequences.advice) -> Exit:
    """The exit of an engine that oprel kills because it makes no progress."""
    return Exit(Reason.HUNG, detail, advice)


def outgrew(private: int, reserved: int) -> Exit:
    """The exit of an engine that oprel kills because it took far more memory than was reserved for it, in bytes."""
    detail = f"it took {human_size(private)} of memory, and {human_size(reserved)} were reserved for it"
    return Exit(Reason.OUTGREW_PLAN, detail, Reason.OUTGREW_PLAN.consequences.advice)


def declared(detail: str) -> Exit:
    """The exit of an engine that reported that it cannot go on, and that oprel killed for it."""
    return Exit(Reason.CRASH_SIGNAL, f"it said: {detail}", Reason.CRASH_SIGNAL.consequences.advice)


def _classify(returncode: int, log: list[str]) -> tuple[Reason, str]:
    if why := unusable(returncode, "\n".join(log)):
        return Reason.UNUSABLE_ENGINE, why
    # After a signal only the last lines count: the engine may have survived a warning hours ago.
    lines = _without_backtrace(log)
    if match := _first_match(lines[-LAST_LINES:] if returncode < 0 else lines):
        return match
    if returncode in (-systems.KILL, -signal.SIGTERM, -signal.SIGINT):
        return Reason.KILLED, _signal_name(-returncode)
    if returncode < 0:
        return Reason.CRASH_SIGNAL, _signal_name(-returncode)
    cause = _bare(_cause(log))
    return Reason.UNKNOWN, f"exit status {returncode}" + (f": {cause}" if cause else "")


def _without_backtrace(log: list[str]) -> list[str]:
    """The lines without those of a backtrace, which an engine that aborts has a debugger write below the cause."""
    return [line for line in log if not BACKTRACE.search(line)]


def _first_match(log: list[str], reasons: Iterable[Reason] = Reason) -> tuple[Reason, str] | None:
    for reason in reasons:
        if pattern := reason.consequences.pattern:
            for line in log:
                if re.search(pattern, line, re.IGNORECASE):
                    return reason, _bare(line)
    return None


def _cause(log: list[str]) -> str:
    """The first line of level E, as later ones only report what failed because of it; else Python's last exception."""
    first = next((line for line in log if OF_LEVEL_E.match(line)), None)
    raised = next((match[1] for line in reversed(log) if (match := RAISED.search(line))), None)
    return first or raised or (log[-1] if log else "")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # the real-time ones between SIGRTMIN and SIGRTMAX
        return f"signal {number}"


def _bare(line: str) -> str:
    """A log line without llama.cpp's time, level and module."""
    return re.sub(r"^(?:[\d.]+ )?[A-Z] +((srv|slot|cmn|que|res|main) +|\w+ {2,})?", "", line).strip()
