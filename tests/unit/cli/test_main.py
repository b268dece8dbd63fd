"""The parser, the flags, and how errors become exit codes; test_cli.py runs the commands for real."""

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

import oprel
from oprel.cli import main as cli
from oprel.cli.options import config_from
from oprel.client.connect import serve_command
from oprel.core.config import SERVER_SETTINGS, Config, flag
from oprel.core.exceptions import ConfigError, OprelError, error_classes

CHANGED: dict[str, str | int] = {
    "home": "/srv/models",
    "host": "unix:/run/oprel.sock",
    "server_host": "0.0.0.0",
    "server_port": 8080,
    "origins": "https://a.example,https://*.b.example",
    "log_level": "debug",
    "keep_alive": "-1",
    "engine_path": "/opt/llama server",
    "binary_dir": "/opt/engines",
    "load_timeout": "1h30m",
    "drain_timeout": "30s",
    "ctx_size": 8192,
    "batch_size": 512,
    "parallel": 1,
    "n_threads": 8,
    "n_gpu_layers": 0,
    "kv_cache_type": "q8_0",
    "flash_attention": "off",
}


def parsed(*arguments: str) -> argparse.Namespace:
    return cli.build_parser().parse_args(arguments)


@pytest.fixture
def ends_with(monkeypatch: pytest.MonkeyPatch):
    """Run `main` on a command that ends with this error; its exit status."""

    def run(error: BaseException) -> int:
        def fail(_: argparse.Namespace) -> int:
            raise error

        parser = argparse.ArgumentParser()
        parser.set_defaults(main=fail)
        monkeypatch.setattr(cli, "build_parser", lambda: parser)
        return cli.main([])

    return run


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_a_parser_and_a_main(command: str) -> None:
    model = ["tiny"] if command in ("run", "chat", "show", "stop") else []
    module = import_module(f"oprel.cli.commands.{cli.COMMANDS[command]}")
    assert parsed(command, *model).main is module.main


@pytest.mark.parametrize("error", error_classes().values(), ids=lambda error: error.__name__)
def test_an_error_on_purpose_gives_its_own_exit_code(ends_with, error: type[OprelError]) -> None:
    assert ends_with(error("it broke")) == error.exit_code != 0


def test_an_error_is_told_on_standard_error(ends_with, capsys: pytest.CaptureFixture[str]) -> None:
    ends_with(OprelError("it broke", "Mend it."))
    assert capsys.readouterr() == ("", "Error: it broke\n  Mend it.\n")


def test_ctrl_c_gives_the_status_that_shells_know(ends_with, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends_with(KeyboardInterrupt()) == 130
    assert capsys.readouterr() == ("", "")


def test_an_error_that_nobody_foresaw_keeps_its_traceback(ends_with) -> None:
    with pytest.raises(ZeroDivisionError):
        ends_with(ZeroDivisionError())


@pytest.mark.parametrize("name", SERVER_SETTINGS)
def test_a_setting_reaches_the_daemon_that_is_started_with_it(name: str) -> None:
    config = replace(Config(), **{name: CHANGED[name]})  # type: ignore[arg-type]  # the types are those of the fields
    arguments = serve_command(config)
    assert config_from(parsed(*arguments[arguments.index("serve") :])) == config


def test_the_environment_does_not_change_a_daemon_that_is_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPREL_PARALLEL", "7")
    assert config_from(parsed(*serve_command(Config())[4:])) == Config()


@pytest.mark.parametrize("name", ["home", "engine_path", "binary_dir"])
def test_a_relative_path_reaches_the_daemon_as_it_was_meant(name: str) -> None:
    config = Config(**{name: "over/there"})  # type: ignore[arg-type]  # the type is that of the field
    assert serve_command(config)[-1] == f"{flag(name)}={Path('over/there').absolute()}"


def test_a_flag_beats_the_environment_and_that_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("ctx_size: 1\nparallel: 1\nn_threads: 1\n")
    monkeypatch.setenv("OPREL_PARALLEL", "2")
    monkeypatch.setenv("OPREL_N_THREADS", "2")
    config = config_from(parsed("serve", f"--config={file}", "--n-threads=3"))
    assert (config.ctx_size, config.parallel, config.n_threads) == (1, 2, 3)


def test_a_wrong_value_is_refused_by_the_name_of_its_flag() -> None:
    with pytest.raises(ConfigError, match="--n-gpu-layers: n_gpu_layers must be at least -1, not -2"):
        config_from(parsed("serve", "--n-gpu-layers=-2"))


@pytest.mark.parametrize("command", ["run", "chat", "list", "ps", "show", "stop"])
def test_every_client_command_can_be_told_which_daemon(command: str) -> None:
    model = ["tiny"] if command not in ("list", "ps") else []
    args = parsed(command, "--home=/srv/oprel", "--host=box:1", *model)
    assert (args.home, args.host, args.config) == ("/srv/oprel", "box:1", None)


def test_what_is_not_needed_is_not_imported() -> None:
    """`oprel --version` and `--help` stay fast: the parser alone needs no third-party module."""
    program = (
        "import json, sys; from oprel.cli.main import build_parser; build_parser(); print(json.dumps([*sys.modules]))"
    )
    shown = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, check=True).stdout
    heavy = {"anyio", "fastapi", "httpx", "pydantic", "rich", "uvicorn", "xllamacpp", "yaml"}
    assert heavy & {*json.loads(shown)} == set()


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"oprel {oprel.__version__}\n"
