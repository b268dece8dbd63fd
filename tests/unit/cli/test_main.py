"""The parser, the flags, and how errors become exit codes; test_cli.py runs the commands for real."""

import argparse
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

import oprel
from oprel.cli import main as cli
from oprel.cli.conversation.session import Session
from oprel.cli.options import config_from, session_from
from oprel.client.own_daemon import serve_command
from oprel.core.config import SERVER_SETTINGS, Config, flag
from oprel.core.configuration.environment import SECRET_SETTINGS, daemon_environment
from oprel.core.exceptions import ConfigError, OprelError, ValidationError, error_classes
from oprel.core.request_options import OPTIONS, OptionType

SessionFrom = Callable[..., tuple[Session, list[str]]]

CHANGED: dict[str, str | int] = {
    "home": "/srv/models",
    "prefer": "speed",
    "truncate_embeddings": "on",
    "runaway_guard": "off",
    "host": "unix:/run/oprel.sock",
    "server_host": "0.0.0.0",
    "server_port": 8080,
    "tls_certificate": "/etc/ssl/box.pem",
    "tls_key": "/etc/ssl/box.key",
    "tls_self_signed": "on",
    "tls_port": 8443,
    "listen": "unix:/run/oprel/api.sock?mode=0660",
    "origins": "https://a.example,https://*.b.example",
    "api_keys": "ci:admin:0123456789abcdef",
    "request_log": "json",
    "allowed_hosts": "ai.example,*.lan",
    "allow_unauthenticated_lan": "on",
    "share_with_local_users": "on",
    "trusted_proxies": "127.0.0.1,10.0.0.0/8",
    "log_level": "debug",
    "keep_alive": "-1",
    "keep_alive_locked": "on",
    "default_max_memory_mb": 4096,
    "preload": "tiny, guide",
    "restore": "off",
    "engine_path": "/opt/llama server",
    "binary_dir": "/opt/engines",
    "engine_sources": "/opt/engines.yaml",
    "engine_mirror": "http://box:8000/engines",
    "hardware": "/opt/box.json",
    "load_timeout": "1h30m",
    "stall_timeout": "2m",
    "drain_timeout": "30s",
    "ctx_size": 8192,
    "batch_size": 512,
    "parallel": 1,
    "max_body_mb": 64,
    "max_queue": 16,
    "n_threads": 8,
    "n_gpu_layers": 0,
    "kv_cache_type": "q8_0",
    "flash_attention": "off",
    "backend": "vllm",
    "engine_args": "--dtype float16",
    "engine_variables": "RAY_ADDRESS NOTE='a b'",
    "crash_prompts": "on",
    "in_place": "off",
    "insecure_registries": "box:5000",
    "ollama_registry": "https://mirror.example",
    "cache_dir": "/srv/hub",
    "max_concurrent_downloads": 1,
    "download_rate": "2MB/s",
    "offline": "on",
    "hf_endpoint": "https://mirror.example",
    "models": '{"tiny:latest": {"pin": "on"}}',
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
        monkeypatch.setattr(cli, "build_parser", lambda *_: parser)
        return cli.main([])

    return run


@pytest.fixture
def ends_with_session(monkeypatch: pytest.MonkeyPatch) -> SessionFrom:
    """The session and the prompt that a command line makes."""

    def run(command: str, *words: str) -> tuple[Session, list[str]]:
        found: list[argparse.Namespace] = []

        def main(args: argparse.Namespace) -> int:
            found.append(args)
            return 0

        parser = cli.build_parser()
        cli.command_parsers(parser)[command].set_defaults(main=main)
        monkeypatch.setattr(cli, "build_parser", lambda *_: parser)
        assert cli.main([command, *words]) == 0
        return session_from(found[0]), vars(found[0]).get("prompt", [])

    return run


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_a_parser_and_a_main(command: str) -> None:
    needed = {
        **dict.fromkeys(("show", "inspect", "create", "pull", "push", "rm", "plan"), ["tiny"]),
        "cp": ["tiny", "other"],
    }
    needed |= {"completion": ["bash"], "hf": ["whoami"], "import": ["./tiny.gguf"], "bench": ["memory"]}
    module = import_module(f"oprel.cli.commands.{cli.COMMANDS[command]}")
    assert parsed(command, *needed.get(command, [])).main is module.main


def test_the_flag_of_a_switch_alone_switches_it_on() -> None:
    args = parsed("serve", "--tls-self-signed", "--offline", "--restore", "off", "--in-place=off")
    assert (args.tls_self_signed, args.offline, args.restore, args.in_place) == ("on", "on", "off", "off")


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
def test_a_setting_reaches_the_daemon_that_is_started_with_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config().replace(**{name: CHANGED[name]})
    arguments = serve_command(config)
    for variable in SECRET_SETTINGS:  # other users see the arguments of a process
        monkeypatch.setenv(f"OPREL_{variable.upper()}", daemon_environment(config).get(f"OPREL_{variable.upper()}", ""))
        assert not getattr(config, variable) or getattr(config, variable) not in " ".join(arguments)
    assert config_from(parsed(*arguments[arguments.index("serve") :])) == config


def test_the_environment_does_not_change_a_daemon_that_is_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPREL_PARALLEL", "7")
    assert config_from(parsed(*serve_command(Config())[4:])) == Config()


@pytest.mark.parametrize("name", ["home", "engine_path", "engine_sources", "binary_dir", "cache_dir", "hardware"])
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


WITHOUT_A_DAEMON = {"serve", "service", "selftest", "hardware", "plan", "bench", "completion", "help"}


@pytest.mark.parametrize("command", sorted(cli.COMMANDS.keys() - WITHOUT_A_DAEMON))
def test_every_client_command_can_be_told_which_daemon(command: str) -> None:
    none = dict.fromkeys(
        ("version", "doctor", "crash", "quarantine", "cache", "engines", "restart", "config", "keys"), list[str]()
    )
    names = {**none, "cp": ["tiny", "other"], "hf": ["whoami"], "bench": ["memory"]}.get(command, ["tiny"])
    args = parsed(command, "--home=/srv/oprel", "--host=box:1", *names)
    assert (args.home, args.host, args.config) == ("/srv/oprel", "box:1", None)


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_what_a_command_is_given_is_taken_for_no_setting(command: str) -> None:
    parser = cli.command_parsers(cli.build_parser())[command]
    places = {action.dest for action in parser._actions if not action.option_strings}
    assert not places & {*SERVER_SETTINGS, "host"}


def test_the_table_of_aliases_is_that_of_the_parsers() -> None:
    parsers = cli.command_parsers(cli.build_parser())
    assert {name: parser.prog.split()[1] for name, parser in parsers.items() if name in cli.ALIASES} == cli.ALIASES
    assert parsers.keys() - cli.COMMANDS.keys() - cli.ALIASES.keys() == {"__complete"}


@pytest.mark.parametrize("word", [*cli.COMMANDS, *cli.ALIASES])
def test_the_parser_of_one_command_knows_it(word: str) -> None:
    assert word in cli.command_parsers(cli.build_parser(word))


@pytest.mark.parametrize("flag", ["--version", "-v"])
def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str], flag: str) -> None:
    assert cli.main([flag]) == 0
    assert capsys.readouterr().out == f"oprel {oprel.__version__}\n"


@pytest.mark.parametrize(("typed", "meant"), [("lst", "list"), ("shwo", "show"), ("chta", "chat")])
def test_a_mistyped_command_leads_to_the_one_that_was_meant(
    capsys: pytest.CaptureFixture[str], typed: str, meant: str
) -> None:
    assert cli.main([typed]) == 2
    said = f"Error: unknown command '{typed}'\n  Did you mean `oprel {meant}`?\n  See `oprel --help`.\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("signin", "oprel needs no account"),
        ("list --jsn", "oprel list has no flag --jsn\n  Did you mean --json?\n  See `oprel list --help`"),
        ("run guide --formt json hello", "oprel run has no flag --formt\n  Did you mean --format?"),
        ("stop tiny --soon", "oprel stop has no flag --soon\n  See `oprel stop --help`"),
        ("cp one two three", "too many arguments: three\n  See `oprel cp --help`"),
        ("cp one", "the following arguments are required: destination\n  See `oprel cp --help`"),
        ("--config file list", "--config must come after the command\n  Write `oprel COMMAND`"),
    ],
)
def test_wrong_use_says_what_to_do_next(capsys: pytest.CaptureFixture[str], words: str, said: str) -> None:
    assert cli.main(words.split()) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("Error: ")
    assert said in shown


@pytest.mark.parametrize(
    ("words", "think"),
    [
        ([], None),
        (["--think"], True),
        (["--think=true"], True),
        (["--think=false"], False),
        (["--think=high"], "high"),
    ],
)
def test_think_takes_no_word_of_the_prompt(
    ends_with_session: SessionFrom, words: list[str], think: bool | str | None
) -> None:
    session, prompt = ends_with_session("run", "tiny", *words, "why", "not")
    assert (session.think, prompt) == (think, ["why", "not"])


def test_think_after_two_dashes_is_a_word(ends_with_session: SessionFrom) -> None:
    assert ends_with_session("run", "tiny", "--", "--think")[1] == ["--think"]


@pytest.mark.parametrize("command", ["run", "chat", "query"])
def test_every_option_of_a_request_has_a_flag(ends_with_session: SessionFrom, command: str) -> None:
    for option in OPTIONS.values():
        flag = f"--{option.name.replace('_', '-')}"
        given, value = {
            OptionType.INTEGER: ([flag, "512"], 512),
            OptionType.FLOAT: ([f"{flag}=0.5"], 0.5),
            OptionType.BOOLEAN: ([flag], True),
            OptionType.TEXTS: ([flag, "a b", flag, "c"], ["a b", "c"]),
        }[option.type]
        session, _ = ends_with_session(command, "tiny", *given)
        assert session.options == {option.name: value}


def test_a_flag_of_an_option_beats_the_general_one(ends_with_session: SessionFrom) -> None:
    session, prompt = ends_with_session("run", "tiny", "--option=seed=7", "--seed", "-1", "--no-ignore-eos", "hi")
    assert (session.options, prompt) == ({"seed": -1, "ignore_eos": False}, ["hi"])


@pytest.mark.parametrize(
    ("flag", "fault"),
    [("--temperature=hot", "temperature must be a number, not 'hot'"), ("--num-ctx=2", "num_ctx must be at least 4")],
)
def test_a_wrong_value_of_an_option_is_refused(ends_with_session: SessionFrom, flag: str, fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        ends_with_session("run", "tiny", flag, "hi")


def test_arguments_make_a_session(ends_with_session: SessionFrom) -> None:
    session, _ = ends_with_session(
        *("run", "tiny", "--system=Be brief.", "--option=seed=7", "--option", "stop=###", "--format=json"),
        *("--keepalive=10m", "--verbose", "--nowordwrap", "--hidethinking", "hi"),
    )
    assert session == Session(
        "tiny",
        system="Be brief.",
        options={"seed": 7, "stop": ["###"]},
        format="json",
        keep_alive="10m",
        verbose=True,
        wordwrap=False,
        hide_thinking=True,
    )


@pytest.mark.parametrize(("text", "keep_alive"), [("5", 5.0), ("-1", -1.0), ("5m", "5m")])
@pytest.mark.parametrize("flag", ["--keepalive", "--keep-alive"])
def test_keepalive_is_seconds_or_a_duration(
    ends_with_session: SessionFrom, flag: str, text: str, keep_alive: float | str
) -> None:
    assert ends_with_session("chat", "tiny", f"{flag}={text}")[0].keep_alive == keep_alive


@pytest.mark.parametrize("words", [["--think=hard"], ["--option=sed=1"], ["--option=seed"], ["--format=nosuch.json"]])
def test_a_wrong_argument_is_told_before_anything_is_asked(words: list[str]) -> None:
    with pytest.raises(ValidationError):
        session_from(parsed("run", "tiny", "hi", *words))


def test_truncate_takes_no_word_of_the_prompt(ends_with_session: SessionFrom) -> None:
    assert ends_with_session("run", "tiny", "--truncate", "why", "not")[1] == ["why", "not"]
    assert ends_with_session("run", "tiny", "--truncate=false", "why", "not")[1] == ["why", "not"]
