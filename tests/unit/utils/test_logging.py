"""The level of the log."""

import logging
from collections.abc import Iterator

import pytest

import oprel


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    """The handlers and levels of the tests come back afterwards."""
    root = logging.getLogger()
    names = ("httpx", "httpcore", "asyncio", "uvicorn")
    handlers, level, levels = root.handlers[:], root.level, [logging.getLogger(name).level for name in names]
    root.handlers[:] = []  # so that those of pytest are not closed
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, old in zip(names, levels, strict=True):
        logging.getLogger(name).setLevel(old)


@pytest.mark.parametrize("level", [logging.DEBUG, "debug", "DEBUG", "Debug"])
def test_a_level_is_a_number_or_a_name_in_any_case(level: int | str) -> None:
    oprel.setup_logging(level=level)
    assert logging.getLogger().level == logging.DEBUG


def test_a_log_begins_at_info() -> None:
    oprel.setup_logging()
    assert logging.getLogger().level == logging.INFO


def test_an_unknown_level_is_an_error() -> None:
    with pytest.raises(ValueError, match="LOUD"):
        oprel.setup_logging("loud")


def test_a_message_is_one_entry_that_controls_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    oprel.setup_logging()
    logging.getLogger("oprel").warning("ignored %s", "\x1b]0;title\x07\u202e\nFORGED line")
    try:
        raise ValueError("\x1b[2J\nFORGED line")
    except ValueError:
        logging.getLogger("oprel").exception("failed")
    first, forged, second, *traceback = capsys.readouterr().err.split("\n")[:-1]
    assert first.endswith(r"ignored \x1b]0;title\x07\u202e") and forged == "    FORGED line"
    assert second.endswith("failed")
    assert traceback[-2:] == [r"    ValueError: \x1b[2J", "    FORGED line"]
    assert all(line.startswith("    ") for line in traceback)
