"""What the bars of a download show."""

import io

from rich.console import Console

from oprel.cli.screen.bars import Bars


def test_why_a_download_waits_is_shown_until_it_goes_on() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with Bars(console) as bars:
        bars.file("model.gguf", 10, 100)
        bars.step("waiting: busy; next attempt in 9 s")
        bars.file("model.gguf", 10, 100)
        assert bars._progress.step
        bars.file("model.gguf", 11, 100)
        assert not bars._progress.step
