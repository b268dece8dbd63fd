"""Why an engine ended: its exit status and last log lines, classified as a reason with advice. Pure.

A reason is one entry of `Reason`: what identifies it and what follows from it. The phrases are those of llama.cpp's log
(builds b11434 and b11549 were run), of the Python engines and of the dynamic loader.
"""

import re
import signal
from dataclasses import dataclass
from enum import Enum, auto
from typing import Self

from oprel.runtime.binaries.engine_binaries import unusable


class Restart(Enum):
    """How to go on after an engine ended."""

    BACK_OFF = auto()  # start it again, the first time at once, then after a wait that doubles
    STEP_DOWN = auto()  # start it again with more memory free, or with smaller settings
    NEXT_BINARY = auto()  # set the program aside and start the next one
    HOPELESS = auto()  # it will end in the same way: at most one start a minute
    EXTERNAL = auto()  # something else ended it: if it was serving, start it at once


@dataclass(frozen=True, kw_only=True)
class Consequences:
    """`pattern` matches the log lines that identify the reason; `is_blamable`: a request may be to blame."""

    advice: str
    pattern: str = ""
    restart: Restart = Restart.BACK_OFF
    is_blamable: bool = True


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
            advice="Use a smaller context (num_ctx), fewer GPU layers (num_gpu), or a smaller quantization.",
            pattern=r"out of memory|failed to allocate|unable to allocate|cannot allocate memory|bad_alloc"
            r"|no available memory for the cache|larger than the available KV cache memory",
            restart=Restart.STEP_DOWN,
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
    CRASH_SIGNAL = (
        "crash_signal",
        Consequences(
            advice="The engine crashed. Ask again to restart it; if it repeats, try another engine build.",
        ),
    )
    HUNG = (
        "hung",
        Consequences(
            advice="Ask again: a new engine is started. If it is only slow, raise stall_timeout; "
            "else try another build.",
        ),
    )
    UNKNOWN = (
        "unknown",
        Consequences(
            advice="See the daemon's log for the engine's last lines.",
        ),
    )


@dataclass(frozen=True)
class Exit:
    """`detail` is the log line that tells the reason, or the signal's name; `advice` is the next step for the user."""

    reason: Reason
    detail: str
    advice: str

    @property
    def restart(self) -> Restart:
        return self.reason.consequences.restart

    @property
    def is_blamable(self) -> bool:
        """True if a request may have ended the engine."""
        return self.reason.consequences.is_blamable


RAISED = re.compile(r"(?:^|\s)((?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception): \S.*)")  # the end of a Python traceback
LAST_LINES = 10


def classify_exit(returncode: int, log: list[str], *, memory_ran_out: bool = False) -> Exit:
    """`returncode` as in subprocess: negative for a signal. `log` has the last lines, oldest first.

    `memory_ran_out`: the system has killed a process for lack of memory while this one ran.
    """
    reason, detail = _classify(returncode, log)
    if reason is Reason.KILLED and memory_ran_out and returncode == -signal.SIGKILL:
        reason, detail = Reason.OUT_OF_MEMORY, "SIGKILL: the system ran out of memory"
    return Exit(reason, detail, reason.consequences.advice)


def hung(detail: str, advice: str = Reason.HUNG.consequences.advice) -> Exit:
    """The exit of an engine that oprel kills because it makes no progress."""
    return Exit(Reason.HUNG, detail, advice)


def declared(detail: str) -> Exit:
    """The exit of an engine that reported that it cannot go on, and that oprel killed for it."""
    return Exit(Reason.CRASH_SIGNAL, f"it said: {detail}", Reason.CRASH_SIGNAL.consequences.advice)


def _classify(returncode: int, log: list[str]) -> tuple[Reason, str]:
    if why := unusable(returncode, "\n".join(log)):
        return Reason.UNUSABLE_ENGINE, why
    # After a signal only the last lines count: the engine may have survived a warning hours ago.
    if match := _first_match(log[-LAST_LINES:] if returncode < 0 else log):
        return match
    if returncode in (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT):
        return Reason.KILLED, _signal_name(-returncode)
    if returncode < 0:
        return Reason.CRASH_SIGNAL, _signal_name(-returncode)
    cause = _bare(_cause(log))
    return Reason.UNKNOWN, f"exit status {returncode}" + (f": {cause}" if cause else "")


def _first_match(log: list[str]) -> tuple[Reason, str] | None:
    for reason in Reason:
        if pattern := reason.consequences.pattern:
            for line in log:
                if re.search(pattern, line, re.IGNORECASE):
                    return reason, _bare(line)
    return None


def _cause(log: list[str]) -> str:
    """The first line of level E, as later ones only report what failed because of it; else Python's last exception."""
    first = next((line for line in log if re.match(r"[\d.]+ E ", line)), None)
    raised = next((match[1] for line in reversed(log) if (match := RAISED.search(line))), None)
    return first or raised or (log[-1] if log else "")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # the real-time ones between SIGRTMIN and SIGRTMAX
        return f"signal {number}"


def _bare(line: str) -> str:
    """A log line without llama.cpp's time, level and module."""
    return re.sub(r"^[\d.]+ [A-Z] +((srv|slot|cmn|que|res|main) +|\w+ {2,})?", "", line).strip()
