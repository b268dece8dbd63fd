"""How many threads of an engine compute. Pure.

Threads work in step: after each operation they wait for the slowest. So a second thread is worth less the shorter the
operations are, and if another program takes its core away. If there are more such programs than cores, each further
thread gets another share of the time. Measured on two cores at 2.4 GHz (engine b11549):

| tokens/s | one thread | two |
| --- | --- | --- |
| 180 million weights in Q8_0, one answer: on an idle machine | 49 | 83 |
| beside one busy process | 53 | 32 |
| beside about six | 14 | 29 |
| a prompt of 100 tokens, on a machine with other work | 118 | 210 |
| `guide`, 3 million weights, one answer, on such a machine | 1190 | 530 |

A prompt, and answers side by side, are computed in longer operations than a single token is, so that waiting costs
them less: they get every core, also on a busy machine.
"""

from dataclasses import dataclass

BARRIER_SECONDS = 25e-6  # all barriers of a layer, each time the number of threads doubles
WORTHWHILE = 2  # times what its barriers cost: a second thread that saves less loses more whenever another program runs
MOST_LEFT = 0.5  # of the cores: if others keep more of them busy, no thread has a core to itself anyway
# An engine is restarted with other threads if a request waits for that no longer than for a short prompt (s, tokens).
QUICK_LOAD, SHORT_PROMPT = 1.0, 512
LONG_IDLE = 60.0  # s without a request: about as long as the load is averaged


@dataclass(frozen=True)
class Threads:
    """`single` threads compute one token, and `batch` threads several tokens at once. `why`: a short sentence."""

    single: int
    batch: int
    why: str = ""


def threads_for(seconds: float, layers: int, cores: int, busy: float) -> Threads:
    """The threads for a model whose token takes one core `seconds` of arithmetic in `layers` layers of the CPU.

    There are `cores`, of which other programs keep `busy` busy. Without layers on the CPU each core gets one.
    """
    if not layers or cores == 1:
        return Threads(cores, cores)
    if seconds / 2 < WORTHWHILE * layers * BARRIER_SECONDS:
        return Threads(1, 1, "one thread: more would wait for each other longer than they compute")
    lost = round(busy)
    if 0 < lost <= MOST_LEFT * cores:
        others = "another program keeps a core" if lost == 1 else f"other programs keep {lost} cores"
        why = f"{_counted(cores - lost)} for a token, {cores} for prompts: {others} busy"
        return Threads(cores - lost, cores, why)
    return Threads(cores, cores, f"{_counted(cores)}, one for each core that it may use")


def is_worth_restart(running: Threads, now: Threads, *, load_seconds: float, longest_prompt: int) -> bool:
    """Whether to start an engine again that was idle for `LONG_IDLE`: it would get other threads `now` than then.

    Not if it loads slowly, or would have to read a long conversation again (`longest_prompt` in tokens): that costs
    more than some tokens/s are worth.
    """
    is_quick = load_seconds <= QUICK_LOAD and longest_prompt <= SHORT_PROMPT
    return running.single != now.single and is_quick


def _counted(threads: int) -> str:
    return "one thread" if threads == 1 else f"{threads} threads"
