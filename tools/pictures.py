"""Make the pictures of the README again: real sessions of this checkout, in docs/*.svg.

    .venv/bin/python tools/pictures.py [NAME ...]

Each command runs in a pseudo-terminal of 80 columns, against a daemon of its own. A local server stands for Hugging
Face; its only repository, `me/guide`, holds `guide`. Look at the pictures before you commit them, and make them on a
machine that does nothing else: they show times.
"""

import argparse
import os
import pty
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from oprel.client.connect import stop_daemon  # noqa: E402 - of this checkout
from oprel.client_api import Client  # noqa: E402
from oprel.core.config import Config  # noqa: E402
from oprel.core.models.manifests import BUNDLED  # noqa: E402
from tests.fixtures.hub_server import Behaviour, HubServer, Mode  # noqa: E402
from tests.fixtures.screen import Screen  # noqa: E402

COLUMNS, ROWS = 80, 40
REPOSITORY = "me/guide"
CELL, SPACE = 12.2, "&#160;"  # of Rich's SVG: the width of a character, and a space
INDENTED = re.compile(
    rf'x="(?P<x>[\d.]+)"(?P<rest>[^>]*)textLength="(?P<length>[\d.]+)"(?P<end>[^>]*>)(?P<spaces>({SPACE})+)(?=[^<])'
)


class StyledScreen(Screen):
    """A screen that also keeps the style of each character."""

    def __init__(self, columns: int) -> None:
        super().__init__(columns)
        self._style = ""
        self._styles: dict[tuple[int, int], str] = {}

    def _put(self, text: str) -> None:
        for char in text:
            super()._put(char)
            self._styles[self._row, self._column - 1] = self._style

    def _obey(self, control: str, argument: str, letter: str | None) -> None:
        if letter == "m":
            self._style = "" if argument in ("", "0") else self._style + control
        super()._obey(control, argument, letter)

    def _erase(self, row: int, column: int) -> None:
        super()._erase(row, column)
        for at in range(column, self.columns):
            self._styles.pop((row, at), None)

    @property
    def styled_lines(self) -> list[Text]:
        """Up to the last one that is not blank; none where nothing was written."""
        return [self._styled(row, line) for row, line in enumerate(self.lines)] if any(self.lines) else []

    def _styled(self, row: int, line: str) -> Text:
        cells = ((self._styles.get((row, column), ""), char) for column, char in enumerate(line))
        runs = ((style, "".join(char for _, char in run)) for style, run in groupby(cells, lambda cell: cell[0]))
        return Text.from_ansi("".join(f"{style}{text}\x1b[0m" for style, text in runs))


@dataclass(frozen=True)
class Session:
    """A shell at a terminal, and what is drawn of it."""

    folder: Path
    environment: Mapping[str, str]
    console: Console

    def run(self, command: str) -> None:
        """Type a command, and show what it writes."""
        self.console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
        for line in self._screen(command).styled_lines:
            self.console.print(line, soft_wrap=True)

    def engine_pid(self) -> int:
        with Client(config=Config(home=self.environment["OPREL_HOME"])) as client:
            return client.engines().models[0].pid or 0

    def _screen(self, command: str) -> StyledScreen:
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.folder)
            os.execvpe("bash", ["bash", "-c", f"stty cols {COLUMNS} rows {ROWS}; {command}"], dict(self.environment))
        screen = StyledScreen(COLUMNS)
        while written := _read(terminal):
            screen.write(written.decode(errors="replace"))
        os.close(terminal)
        os.waitpid(pid, 0)
        return screen


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # EIO: the command has ended
        return b""


def terminal_picture(session: Session) -> None:
    session.run('oprel run guide "How do I see which models are loaded?"')
    session.run("oprel ps")
    session.run(f"kill -9 {session.engine_pid()}")
    session.run('oprel run guide "How do I unload a model?"')
    session.run("oprel crash ls")
    session.run("bin/bench recovery  # kills the engine in the middle of 100 answers")
    session.run('oprel run ./tinny.gguf "hello"')


def models_picture(session: Session) -> None:
    session.run("oprel search guide")
    session.run(f'oprel run hf.co/{REPOSITORY} "How do I list my models?"')
    session.run("oprel list")
    session.run(f"oprel rm hf.co/{REPOSITORY}")


PICTURES: dict[str, Callable[[Session], None]] = {"terminal": terminal_picture, "models": models_picture}


@contextmanager
def session(console: Console) -> Iterator[Session]:
    """A home, and a folder with this checkout's launchers, which go with the session."""
    folder = Path(tempfile.mkdtemp(prefix="oprel-pictures-"))
    model = folder / "hub" / REPOSITORY / "guide-Q8_0.gguf"
    model.parent.mkdir(parents=True)
    shutil.copy(BUNDLED / "guide.gguf", model)
    (folder / "bin").symlink_to(ROOT / "bin")
    config = Config(home=str(folder / "home"))
    try:
        with HubServer(folder / "hub", Behaviour(Mode.SLOW, pause=0.005)).running() as hub:
            yield Session(folder, _environment(config, hub.url), console)
    finally:
        stop_daemon(config)
        shutil.rmtree(folder, ignore_errors=True)


def _environment(config: Config, hub: str) -> dict[str, str]:
    """Nothing of the user's, so that no other model is listed."""
    settings = {"OPREL_HOME": config.home, "OPREL_SERVER_PORT": "0", "OPREL_IN_PLACE": "off", "HF_ENDPOINT": hub}
    path = f"{ROOT}/.venv/bin:{os.environ['PATH']}"
    return {"PATH": path, "HOME": config.home, "TERM": "xterm-256color", "LANG": "C.UTF-8", **settings}


def draw(name: str) -> Path:
    console = Console(
        record=True, width=COLUMNS, file=open(os.devnull, "w"), force_terminal=True, color_system="truecolor"
    )
    with session(console) as opened:
        PICTURES[name](opened)
    path = ROOT / "docs" / f"{name}.svg"
    drawn = console.export_svg(title="oprel", theme=MONOKAI, unique_id=f"oprel-{name}")
    path.write_text(INDENTED.sub(_shifted, drawn))
    return path


def _shifted(text: re.Match[str]) -> str:
    """A text without spaces in front, moved by them: some programs that draw SVG leave them out."""
    x, rest, length, spaces = float(text["x"]), text["rest"], float(text["length"]), text["spaces"].count(SPACE)
    return f'x="{x + spaces * CELL:g}"{rest}textLength="{length - spaces * CELL:g}"{text["end"]}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="*", choices=[*PICTURES, []], help="all without one")
    for name in parser.parse_args().name or PICTURES:
        print(draw(name))


if __name__ == "__main__":
    main()
