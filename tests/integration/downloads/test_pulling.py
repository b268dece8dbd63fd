"""`oprel pull`, `search`, `hf`, and `run` of a model that is not here, as a user types them."""

import contextlib
import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from oprel.cli.main import main
from oprel.client_api import Client
from tests.conftest import RunningDaemon, eventually
from tests.fixtures.hub_server import TOKEN, Behaviour, HubServer, Mode
from tests.fixtures.terminal import CTRL_C, Terminal

Oprel = Callable[..., tuple[int, str, str]]


@pytest.fixture
def oprel(
    shared: RunningDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Oprel:
    """Run a command away from a terminal; its status and what it said."""
    monkeypatch.setenv("OPREL_HOME", shared.config.home)
    monkeypatch.setenv("OPREL_HF_ENDPOINT", shared.config.hf_endpoint)
    for name in ("HF_TOKEN_PATH", "HF_STORED_TOKENS_PATH"):
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", str(tmp_path / "tokens" / name))

    def run(*words: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        status = main(words)
        return status, *capsys.readouterr()

    return run


def test_away_from_a_terminal_each_step_is_one_line(oprel: Oprel, repo: str):
    status, said, beside = oprel("pull", f"hf.co/{repo}:Q8_0")
    assert (status, said) == (0, f"pulled 'hf.co/{repo}:Q8_0'\n")
    assert beside.splitlines() == [
        f"{repo} Q8_0: 1 file, 275 KB",
        "pulling tiny-Q8_0.gguf (275 KB)",
        *("verifying sha256 digest", "writing manifest"),
    ]


def test_why_a_pull_waits_is_said(oprel: Oprel, hub: HubServer, repo: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub, "retry_after", "1")
    hub.troubles = [429]
    status, _, beside = oprel("pull", f"hf.co/{repo}:Q8_0")
    assert (status, beside.splitlines()[:2]) == (
        0,
        [
            f"waiting: {hub.url} answered HTTP 429; next attempt in 1 s",
            f"{repo} Q8_0: 1 file, 275 KB",
        ],
    )


def test_a_model_that_is_not_here_is_fetched_before_it_runs(oprel: Oprel, repo: str):
    status, said, beside = oprel("run", f"hf.co/{repo}", "Hello", "--option", "num_predict=8")
    assert (status, bool(said.strip())) == (0, True)
    assert beside.startswith(f"{repo} Q8_0: 1 file, 275 KB\n")
    status, _, beside = oprel("run", f"hf.co/{repo}", "Hello", "--option", "num_predict=8")
    assert (status, "pulling" in beside) == (0, False)


def test_a_repository_in_xet_storage_only_is_pulled_and_runs(oprel: Oprel, hub: HubServer, repo: str):
    hub.in_xet_only.add(repo)
    status, _, beside = oprel("pull", f"hf.co/{repo}:Q8_0")
    assert (status, beside.splitlines()[-1]) == (0, "writing manifest")
    assert oprel("run", f"hf.co/{repo}:Q8_0", "Hello", "--option", "num_predict=2")[0] == 0


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (("pull", "hf.co/org/nonesuch"), 3, "Error: there is no repository org/nonesuch"),
        (("run", "hf.co/org/nope", "Hello"), 3, "Error: model 'hf.co/org/nope' not found, and there is no repository"),
        (("run", "nonesuch", "Hello"), 3, "Error: model 'nonesuch' not found"),
        (("pull", "a b"), 2, "Error: invalid model name"),
        (("hf", "whoami"), 2, "not logged in to Hugging Face"),
        (("search", "x", "--limit", "0"), 2, "limit must be a number from 1 to 100"),
    ],
)
def test_what_cannot_be_had_is_told(oprel: Oprel, words: tuple[str, ...], status: int, text: str):
    ended, _, beside = oprel(*words)
    assert (ended, text in beside) == (status, True), beside


def test_a_paused_download_is_told_of_kept_and_given_up(
    oprel: Oprel, client: Client, shared: RunningDaemon, hub: HubServer, repo: str
):
    hub.behaviour = Behaviour(Mode.HELD, pause=0.1)
    task = client.download(f"hf.co/{repo}:Q8_0")
    eventually(lambda: client.download_status(task.id).completed > 0)
    client.pause_download(task.id)
    advice = f"paused; `oprel pull hf.co/{repo}:Q8_0` resumes it, `oprel rm hf.co/{repo}:Q8_0` deletes it"
    assert advice in oprel("list")[2] and repo not in oprel("list", "gui")[2]
    _, said, beside = oprel("cache")
    (row,) = [line for line in said.splitlines() if repo in line]
    assert re.match(rf"[0-9a-f]{{12}}\.part +\S+ [KM]?B of 275 KB .* hf\.co/{repo}:Q8_0$", row)
    assert advice in beside
    _, _, beside = oprel("cache", "prune")
    assert f"kept: hf.co/{repo}:Q8_0" in beside and advice in beside
    assert oprel("rm", f"hf.co/{repo}:q8_0")[:2] == (0, f"cancelled the download of 'hf.co/{repo}:q8_0'\n")
    assert repo not in "".join(oprel("cache")[1:])
    assert oprel("rm", f"hf.co/{repo}")[0] == 3


def test_what_was_stopped_before_anything_came_is_forgotten(shared: RunningDaemon, client: Client, hub: HubServer):
    hub.behaviour = Behaviour(Mode.SILENT)
    url = f"{hub.url}/cdn/org/quiet-GGUF/tiny-Q8_0.gguf"
    with contextlib.closing(Terminal(shared.config.home, "pull", url, columns=100)) as terminal:
        terminal.await_text("looking for")
        terminal.type(CTRL_C)
        status, lines = terminal.end()
    assert (status, lines[-1]) == (130, "Stopped.")
    eventually(lambda: url not in [download.model for download in client.downloads().downloads])


def test_a_search_shows_what_to_pull(oprel: Oprel):
    _, said, _ = oprel("search", "quiet")
    assert [line.split()[0] for line in said.splitlines()] == ["NAME", "hf.co/org/quiet-GGUF"]
    assert oprel("search", "nonesuch") == (0, "", "no models found; try fewer words\n")


def test_a_token_is_taken_kept_and_forgotten(oprel: Oprel):
    assert oprel("hf", "login", stdin=f"{TOKEN}\n")[:2] == (0, "logged in as tester\n")
    assert oprel("hf", "whoami")[:2] == (0, "tester\n")
    assert oprel("hf", "logout")[:2] == (0, "logged out\n")
    assert oprel("hf", "whoami")[0] == 2
    assert "rejects the token" in oprel("hf", "login", stdin="hf_bad\n")[2]


def test_at_a_terminal_bars_move_and_ctrl_c_leaves_what_can_be_carried_on(
    shared: RunningDaemon, hub: HubServer, repo: str
):
    hub.behaviour = Behaviour(Mode.HELD, pause=0.1)
    words = ("pull", f"hf.co/{repo}:Q8_0")
    with contextlib.closing(Terminal(shared.config.home, *words, columns=100)) as terminal:
        terminal.await_text(f"{repo} Q8_0: 1 file, 275 KB")
        terminal.await_text("tiny-Q8_0.gguf")
        terminal.await_text("/275.5 kB")
        terminal.type(CTRL_C)
        status, lines = terminal.end()
        assert (status, f"Stopped. The partial download is kept; `oprel pull {words[1]}`" in "\n".join(lines)) == (
            130,
            True,
        )
    hub.behaviour = Behaviour()
    with contextlib.closing(Terminal(shared.config.home, *words, columns=100)) as terminal:
        status, lines = terminal.end()
    assert (status, lines[0], lines[-1]) == (0, f"{repo} Q8_0: 1 file, 275 KB", f"pulled '{words[1]}'")
    assert re.search(r"tiny-Q8_0.gguf .*275.5/275.5 kB +\d\d:\d\d$", lines[-2])
    assert not {"success", "writing manifest"} & {*lines}


def test_at_a_narrow_terminal_a_bar_is_one_line(shared: RunningDaemon, repo: str):
    words = ("pull", f"hf.co/{repo}:Q8_0")
    with contextlib.closing(Terminal(shared.config.home, *words, columns=60)) as terminal:
        status, lines = terminal.end()
    assert (status, len(lines), lines[-1]) == (0, 3, f"pulled '{words[1]}'")
    assert re.search("tiny-Q8_0.gguf .*275.5/275.5 kB", lines[1])


def test_removing_a_repository_says_which_quantization_it_was(oprel: Oprel, repo: str):
    oprel("pull", f"hf.co/{repo}:Q8_0")
    assert oprel("rm", repo)[:2] == (0, f"deleted 'hf.co/{repo}:Q8_0', 275 KB freed\n")


def test_weights_of_a_model_of_a_later_version_stay(shared: RunningDaemon, oprel: Oprel, repo: str):
    name = f"hf.co/{repo}:Q8_0"
    assert oprel("pull", name)[0] == 0
    (manifest,) = shared.config.models_dir.glob(f"*{repo[4:].casefold()}*.json")
    before = manifest.read_text()
    assert oprel("cp", name, "twin")[0] == 0
    manifest.write_text('{"name": 5, "version": 9}')
    try:
        status, output, errors = oprel("cache", "prune")
        assert (status, f"unused files are kept: {manifest} cannot be read" in errors) == (0, True)
        status, output, errors = oprel("rm", "twin")
        assert (status, "freed" in output, "files are kept" in errors) == (0, False, True)
        manifest.write_text(before)
        assert oprel("run", name, "Hello")[0] == 0
    finally:
        manifest.write_text(before)
