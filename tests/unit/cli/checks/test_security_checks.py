"""The verdicts of `oprel doctor --security`."""

import re
from contextlib import closing
from pathlib import Path

import pytest

from oprel.cli.checks.security_checks import CHECKS, security_findings
from oprel.cli.checkup import CheckupFinding
from oprel.core.config import Config
from oprel.core.home import prepare_home
from oprel.core.state.keys import KeyStore, new_key


def about(config: Config, subject: str) -> CheckupFinding:
    (finding,) = [finding for finding in security_findings(config) if finding.subject == subject]
    return finding


def test_a_daemon_as_it_comes_is_sound(config: Config) -> None:
    findings = [*security_findings(config)]
    assert len(findings) >= len(CHECKS) - 1, "all but that of `listen`"
    assert not [finding for finding in findings if finding.level == "error"]
    assert about(config, "listening").text == "only this machine reaches 127.0.0.1"


@pytest.mark.parametrize(
    ("subject", "settings", "level", "text"),
    [
        ("listening", {"server_host": "0.0.0.0"}, "ok", "need a key"),
        ("keys", {}, "ok", "none is needed"),
        ("keys", {"server_host": "0.0.0.0"}, "error", "refuses to listen"),
        ("keys", {"server_host": "0.0.0.0", "api_keys": "a:admin:0123456789abcdef"}, "ok", "api_keys"),
        ("encryption", {}, "ok", "nothing leaves"),
        ("encryption", {"server_host": "0.0.0.0"}, "warning", "reads prompts"),
        ("encryption", {"server_host": "0.0.0.0", "tls_self_signed": "on"}, "ok", "HTTPS"),
        ("listening", {"server_host": "localhost", "allow_unauthenticated_lan": "on"}, "ok", "only this machine"),
        ("listening", {"server_host": "::", "allow_unauthenticated_lan": "on"}, "warning", "without a key"),
        ("local users", {}, "ok", "need a key"),
        ("local users", {"share_with_local_users": "on"}, "ok", "may use models"),
        ("hosts", {}, "ok", "this machine"),
        ("hosts", {"allowed_hosts": "ai.example, *.lan.example"}, "ok", "ai.example"),
        ("hosts", {"allowed_hosts": "ai.example, *"}, "warning", r"has \*:"),
        ("hosts", {"allowed_hosts": "*.local"}, "warning", r"has \*\.local:"),
        ("origins", {"origins": "https://chat.example"}, "ok", "chat.example"),
        ("origins", {"origins": "*"}, "warning", "any web page"),
        ("proxies", {}, "ok", "none is trusted"),
        ("proxies", {"trusted_proxies": "127.0.0.1,unix"}, "ok", "127.0.0.1,unix"),
        ("proxies", {"trusted_proxies": "0.0.0.0/0"}, "warning", "0.0.0.0/0"),
        ("proxies", {"trusted_proxies": "nginx"}, "error", "nginx"),
    ],
)
def test_each_rule_has_a_verdict(config: Config, subject: str, settings: dict[str, str], level: str, text: str) -> None:
    finding = about(config.replace(**settings), subject)
    assert (finding.level, bool(re.search(text, finding.text))) == (level, True), finding.text
    assert level == "ok" or finding.advice


def test_keys_are_counted_and_expired_ones_named(config: Config) -> None:
    prepare_home(config)
    with closing(KeyStore.at(config.home_dir / "state.db")) as store:
        store.add(new_key("ops", "admin", created=0)[0])
        assert about(config, "keys").text == "1 of `oprel keys`; ops may do all that the own user may"
        store.add(new_key("old", "inference", created=0, expires=1)[0])
    assert (about(config, "keys").level, about(config, "keys").advice) == ("warning", ["oprel keys rm old"])


def test_a_socket_for_everybody_is_named(config: Config, tmp_path: Path) -> None:
    shared = tmp_path / "api.sock"
    shared.touch()
    config = config.replace(listen=f"unix:{shared}?mode=0666, pipe:oprel")
    for mode, level in ((0o666, "warning"), (0o660, "ok")):
        shared.chmod(mode)
        findings = [finding for finding in security_findings(config) if finding.subject == "listen"]
        assert [finding.level for finding in findings] == [level, "ok"]


def test_files_that_others_reach_are_named(config: Config) -> None:
    config.run_dir.mkdir(parents=True)
    config.home_dir.chmod(0o755)
    config.socket_path.touch(0o666)
    config.socket_path.chmod(0o666)
    assert [about(config, subject).level for subject in ("home", "socket")] == ["warning", "warning"]
    config.home_dir.chmod(0o700)
    config.socket_path.chmod(0o600)
    assert [about(config, subject).level for subject in ("home", "socket")] == ["ok", "ok"]


def test_a_daemon_elsewhere_is_not_judged_from_here(config: Config) -> None:
    (finding,) = security_findings(config.replace(host="http://box:11435"))
    assert finding.level == "error"
