"""Make the pictures of the README again: real sessions of this checkout, in docs/*.svg, dark and light.

    .venv/bin/python bin/real_models.py     # once: fetches the model
    .venv/bin/python tools/pictures.py [NAME ...]

Each command runs in a pseudo-terminal of 80 columns, against a daemon of its own. A local server stands for Hugging
Face; its only repository holds Gemma 3 270M. Look at the pictures before you commit them, and make them on a machine
that does nothing else: they show times.
"""

import argparse
import os
import pty
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, MONOKAI, TerminalTheme
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bin.real_models import GEMMA  # noqa: E402 - of this checkout
from oprel.client.own_daemon import stop_daemon  # noqa: E402
from oprel.client_api import Client  # noqa: E402
from oprel.core.config import Config  # noqa: E402
from tests.fixtures.hub_server import Behaviour, HubServer, Mode  # noqa: E402
from tests.fixtures.screen import Screen  # noqa: E402

COLUMNS, ROWS = 80, 40
MODEL, REPOSITORY = "gemma-3-270m", "ggml-org/gemma-3-270m-GGUF"
THEMES: dict[str, TerminalTheme] = {"dark": MONOKAI, "light": DEFAULT_TERMINAL_THEME}
# The model continues texts: these make it end after the first paragraph.
PARAMETERS = """
PARAMETER stop "The first"
PARAMETER temperature 0
PARAMETER repeat_penalty 1.1
PARAMETER repeat_last_n -1
"""
KILLED_AFTER = 75  # characters of an answer
AFTER_THE_KILL = "\x1b[1;36m"  # how the rest of it is drawn
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
        self.highlight = ""  # a style in place of the program's own

    def _put(self, text: str) -> None:
        for char in text:
            super()._put(char)
            self._styles[self._row, self._column - 1] = self.highlight or self._style

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
        self._show(command, self._screen(command))

    def run_and_kill(self, command: str) -> None:
        """Type a command, and kill the loaded engine in mid-answer; what comes after that is highlighted."""
        pid = self._engine_pid()

        def kill(screen: StyledScreen) -> None:
            if not screen.highlight and sum(map(len, screen.lines)) > KILLED_AFTER:
                os.kill(pid, signal.SIGKILL)
                screen.highlight = AFTER_THE_KILL

        self._show(command, self._screen(command, kill))
        self._show(f"kill -9 {pid}  # in another terminal, where the colour changes", None)

    def quietly(self, command: str) -> None:
        """Run a command that is not drawn."""
        self._screen(command)

    def _show(self, command: str, screen: StyledScreen | None) -> None:
        self.console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
        for line in screen.styled_lines if screen else ():
            self.console.print(line, soft_wrap=True)

    def _engine_pid(self) -> int:
        with Client(config=Config(home=self.environment["OPREL_HOME"])) as client:
            return client.engines().models[0].pid or 0

    def _screen(self, command: str, watch: Callable[[StyledScreen], None] = lambda screen: None) -> StyledScreen:
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.folder)
            os.execvpe("bash", ["bash", "-c", f"stty cols {COLUMNS} rows {ROWS}; {command}"], dict(self.environment))
        screen = StyledScreen(COLUMNS)
        while written := _read(terminal):
            screen.write(written.decode(errors="replace"))
            watch(screen)
        os.close(terminal)
        os.waitpid(pid, 0)
        return screen


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # EIO: the command has ended
        return b""


def terminal_picture(session: Session) -> None:
    (session.folder / "Modelfile").write_text(f"FROM {GEMMA}{PARAMETERS}")
    session.quietly(f"oprel create {MODEL}; oprel bench memory")
    session.run(f"oprel plan {MODEL} | head -8")
    session.quietly(f"oprel run {MODEL} hello --option num_predict=1")  # so that its engine has a process ID
    session.run_and_kill(f'oprel run {MODEL} "Lighthouses were built"')
    session.run("oprel ps --columns name,state,memory,restarts,pid")
    session.run("oprel crash ls")


def models_picture(session: Session) -> None:
    session.run("oprel search gemma")
    session.run(f'oprel run hf.co/{REPOSITORY} "The capital of France is" --temperature 0 --stop .')
    session.run("oprel list")
    session.run(f"oprel rm hf.co/{REPOSITORY}")


PICTURES: dict[str, Callable[[Session], None]] = {"terminal": terminal_picture, "models": models_picture}


@contextmanager
def session(console: Console) -> Iterator[Session]:
    """A home, and a folder with this checkout's launchers, which go with the session."""
    folder = Path(tempfile.mkdtemp(prefix="oprel-pictures-"))
    model = folder / "hub" / REPOSITORY / f"{MODEL}-Q4_K_M.gguf"
    model.parent.mkdir(parents=True)
    model.symlink_to(GEMMA)
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


def draw(name: str) -> Iterator[Path]:
    console = Console(
        record=True, width=COLUMNS, file=open(os.devnull, "w"), force_terminal=True, color_system="truecolor"
    )
    with session(console) as opened:
        PICTURES[name](opened)
    for kind, theme in THEMES.items():
        path = ROOT / "docs" / f"{name}-{kind}.svg"
        drawn = console.export_svg(title="oprel", theme=theme, unique_id=f"oprel-{name}-{kind}", clear=False)
        path.write_text(INDENTED.sub(_shifted, drawn))
        yield path


def _shifted(text: re.Match[str]) -> str:
    """A text without spaces in front, moved by them: some programs that draw SVG leave them out."""
    x, rest, length, spaces = float(text["x"]), text["rest"], float(text["length"]), text["spaces"].count(SPACE)
    return f'x="{x + spaces * CELL:g}"{rest}textLength="{length - spaces * CELL:g}"{text["end"]}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="*", choices=[*PICTURES, []], help="all without one")
    for name in parser.parse_args().name or PICTURES:
        for path in draw(name):
            print(path)


if __name__ == "__main__":
    main()
