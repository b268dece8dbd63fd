"""Why an engine ended: its exit status and last log lines turned into a named reason with advice. Pure.

Phrases are those of llama.cpp's log (builds b11434 and b11549 were run) and of the dynamic loader.
"""

import re
import signal
from dataclasses import dataclass
from enum import Enum

from oprel.runtime.binaries.engine_binaries import unusable


class Reason(Enum):
    UNUSABLE_ENGINE = "unusable_engine"
    OUT_OF_MEMORY = "out_of_memory"
    UNKNOWN_ARCHITECTURE = "unknown_architecture"
    FILE_CORRUPT = "file_corrupt"
    BAD_FLAG = "bad_flag"
    BIND_FAILED = "bind_failed"
    KILLED = "killed"
    CRASH_SIGNAL = "crash_signal"
    HUNG = "hung"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Exit:
    """`detail` is the telling log line or the signal's name; `advice` the next step for the user."""

    reason: Reason
    detail: str
    advice: str


RAISED = re.compile(r"(?:^|\s)((?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception): \S.*)")  # the end of Python's tracebacks
LAST_WORDS = 10  # lines

_PHRASES = (
    (
        Reason.OUT_OF_MEMORY,
        r"out of memory|failed to allocate|unable to allocate|cannot allocate memory|bad_alloc"
        r"|no available memory for the cache|larger than the available KV cache memory",
    ),
    (
        Reason.UNKNOWN_ARCHITECTURE,
        r"unknown model architecture|unknown pre-tokenizer type|unsupported model architecture"
        r"|does not recognize this architecture|architectures? .* (is|are) not supported",
    ),
    (
        Reason.FILE_CORRUPT,
        r"not within (the )?file bounds|invalid magic|corrupted or incomplete|failed to read|missing tensor",
    ),
    (Reason.BAD_FLAG, r"invalid argument|unrecognized arguments|error: argument|unknown argument"),
    (Reason.BIND_FAILED, r"couldn't bind|address already in use"),
)

_ADVICE = {
    Reason.UNUSABLE_ENGINE: "Install an engine built for this machine; oprel uses the next one it finds.",
    Reason.OUT_OF_MEMORY: "Use a smaller context (num_ctx), fewer GPU layers (num_gpu), or a smaller quantization.",
    Reason.UNKNOWN_ARCHITECTURE: "The engine is older than the model: install a newer llama-server or xllamacpp.",
    Reason.FILE_CORRUPT: "The file is damaged or was not downloaded completely: get it again.",
    Reason.BAD_FLAG: "The engine does not know an option oprel gave: install a newer llama-server or xllamacpp.",
    Reason.BIND_FAILED: "The engine's socket could not be made: check that OPREL_HOME is writable.",
    Reason.KILLED: "Something outside oprel killed the engine, often the system for lack of memory. Ask again.",
    Reason.CRASH_SIGNAL: "The engine crashed. Ask again to restart it; if it repeats, try another engine build.",
    Reason.HUNG: "Ask again: a new engine is started. If it is only slow, raise stall_timeout; else try another build.",
    Reason.UNKNOWN: "See the daemon's log for the engine's last lines.",
}


def classify_exit(returncode: int, log: list[str], *, memory_ran_out: bool = False) -> Exit:
    """`returncode` as in subprocess: negative for a signal. `log` are the last lines, oldest first.

    `memory_ran_out`: the system has killed a process for lack of memory while this one ran.
    """
    reason, detail = _judge(returncode, log)
    if reason is Reason.KILLED and memory_ran_out and returncode == -signal.SIGKILL:
        reason, detail = Reason.OUT_OF_MEMORY, "SIGKILL: the system ran out of memory"
    return Exit(reason, detail, _ADVICE[reason])


def hung(detail: str, advice: str = _ADVICE[Reason.HUNG]) -> Exit:
    """The exit of an engine that oprel kills because it makes no progress."""
    return Exit(Reason.HUNG, detail, advice)


def declared(detail: str) -> Exit:
    """The exit of an engine that said itself that it cannot go on, and was killed for that."""
    return Exit(Reason.CRASH_SIGNAL, f"it said: {detail}", _ADVICE[Reason.CRASH_SIGNAL])


def _judge(returncode: int, log: list[str]) -> tuple[Reason, str]:
    if why := unusable(returncode, "\n".join(log)):
        return Reason.UNUSABLE_ENGINE, why
    # Of an engine that a signal ended only the last words count: it may have lived through a warning hours ago.
    telling = log[-LAST_WORDS:] if returncode < 0 else log
    for reason, pattern in _PHRASES:
        for line in telling:
            if re.search(pattern, line, re.IGNORECASE):
                return reason, _bare(line)
    if returncode in (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT):
        return Reason.KILLED, _signal_name(-returncode)
    if returncode < 0:
        return Reason.CRASH_SIGNAL, _signal_name(-returncode)
    told = _bare(_telling(log))
    return Reason.UNKNOWN, f"exit status {returncode}" + (f": {told}" if told else "")


def _telling(log: list[str]) -> str:
    """The first line of level E: those after it say only what failed because of it. Else Python's last exception."""
    first = next((line for line in log if re.match(r"[\d.]+ E ", line)), None)
    raised = next((found[1] for line in reversed(log) if (found := RAISED.search(line))), None)
    return first or raised or (log[-1] if log else "")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # the real-time ones between SIGRTMIN and SIGRTMAX
        return f"signal {number}"


def _bare(line: str) -> str:
    """A log line without llama.cpp's time, level and module."""
    return re.sub(r"^[\d.]+ [A-Z] +((srv|slot|cmn|que|res|main) +|\w+ {2,})?", "", line).strip()
