"""What `guide` was taught about oprel is true of this oprel."""

import sys
from pathlib import Path

import pytest

from oprel.cli.main import build_parser

GUIDE_TOOLS = Path(__file__).parent.parent.parent / "tools" / "guide"


def test_every_command_that_guide_teaches_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(GUIDE_TOOLS))
    from usage import unknown_commands  # type: ignore[import-not-found]  # of the tools, outside the package

    assert list(unknown_commands(build_parser())) == []
    assert "usage" in sys.modules
