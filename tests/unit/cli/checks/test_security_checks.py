"""The verdicts of `oprel doctor --security`."""

import re

import pytest

from oprel.cli.checks.security_checks import CHECKS, security_findings
from oprel.cli.checkup import CheckupFinding
from oprel.core.config import Config


def about(config: Config, subject: str) -> CheckupFinding:
    (finding,) = [finding for finding in security_findings(config) if finding.subject == subject]
    return finding


def test_a_daemon_as_it_comes_is_sound(config: Config) -> None:
    findings = [*security_findings(config)]
    assert len(findings) >= len(CHECKS)
    assert not [finding for finding in findings if finding.level == "error"]
    assert about(config, "listening").text == "only this machine reaches 127.0.0.1"


@pytest.mark.parametrize(
    ("subject", "settings", "level", "text"),
    [
        ("listening", {"server_host": "0.0.0.0"}, "ok", "need a key"),
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
