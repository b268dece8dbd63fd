import pytest

from oprel.telemetry.recommender.speed.threads import Threads, is_worth_restart, threads_for

LONG, SHORT = 20e-3, 0.3e-3  # seconds that a token takes one core: a model of 180 million weights, and `guide`
LAYERS = 12


@pytest.mark.parametrize(
    ("seconds", "cores", "busy", "single", "batch"),
    [
        (LONG, 1, 0.0, 1, 1),
        (LONG, 1, 3.0, 1, 1),
        (LONG, 2, 0.0, 2, 2),
        (LONG, 2, 0.4, 2, 2),
        (LONG, 2, 0.6, 1, 2),
        (LONG, 2, 2.0, 2, 2),
        (LONG, 8, 0.0, 8, 8),
        (LONG, 8, 1.0, 7, 8),
        (LONG, 8, 3.2, 5, 8),
        (LONG, 8, 4.0, 4, 8),
        (LONG, 8, 5.0, 8, 8),
        (LONG, 64, 60.0, 64, 64),
        (SHORT, 2, 0.0, 1, 1),
        (SHORT, 64, 0.0, 1, 1),
    ],
)
def test_threads_suit_the_model_the_cores_and_the_load(
    seconds: float, cores: int, busy: float, single: int, batch: int
) -> None:
    threads = threads_for(seconds, LAYERS, cores, busy)
    assert (threads.single, threads.batch) == (single, batch)


def test_without_layers_on_the_cpu_nothing_is_explained() -> None:
    assert threads_for(0.0, 0, 8, 5.0) == Threads(8, 8)


@pytest.mark.parametrize(
    ("seconds", "cores", "busy", "why"),
    [
        (SHORT, 2, 0.0, "one thread: more would wait for each other longer than they compute"),
        (LONG, 8, 0.0, "8 threads, one for each core that it may use"),
        (LONG, 2, 1.0, "one thread for a token, 2 for prompts: another program keeps a core busy"),
        (LONG, 2, 6.0, "2 threads, one for each core that it may use"),
        (LONG, 8, 3.0, "5 threads for a token, 8 for prompts: other programs keep 3 cores busy"),
    ],
)
def test_it_says_why(seconds: float, cores: int, busy: float, why: str) -> None:
    assert threads_for(seconds, LAYERS, cores, busy).why == why


@pytest.mark.parametrize(
    ("now", "load_seconds", "longest_prompt", "is_worth"),
    [
        (1, 0.5, 100, True),
        (2, 0.5, 100, False),  # as many as it has
        (1, 5.0, 100, False),  # it loads slowly
        (1, 0.5, 4000, False),  # it would read a long conversation again
    ],
)
def test_an_engine_is_restarted_if_that_takes_little(
    now: int, load_seconds: float, longest_prompt: int, is_worth: bool
) -> None:
    running, planned = Threads(2, 2), Threads(now, 2)
    is_started_again = is_worth_restart(running, planned, load_seconds=load_seconds, longest_prompt=longest_prompt)
    assert is_started_again is is_worth
