"""What a service file is told of the settings: those of the environment, without secrets, and folders to write to."""

from pathlib import Path

import pytest

from oprel.cli.services.service_facts import environment_of, facts_of, secret_settings
from oprel.cli.services.service_files import STATE_FOLDER, ServiceKind
from oprel.core.config import Config
from oprel.core.configuration.given import GivenSetting

GIVEN = {
    "parallel": GivenSetting(2, "OPREL_PARALLEL"),
    "ctx_size": GivenSetting(256, "/home/me/.config/oprel/config.yaml:3"),  # which the service reads itself
    "home": GivenSetting("/srv/oprel", "--home"),
    "hf_endpoint": GivenSetting("https://me:secret@mirror.example", "HF_ENDPOINT"),
}


def test_only_the_settings_of_the_environment_are_passed_on_and_no_secret() -> None:
    assert environment_of(GIVEN) == {"OPREL_PARALLEL": "2"}
    assert secret_settings(GIVEN) == ["HF_ENDPOINT"]


@pytest.mark.parametrize(
    ("user", "given", "home"),
    [("", {}, Path("~/.oprel").expanduser()), ("oprel", {}, STATE_FOLDER), ("oprel", GIVEN, Path("/srv/oprel"))],
)
def test_the_home_is_the_users_or_the_machines(user: str, given: dict[str, GivenSetting], home: Path) -> None:
    config = Config(home="/srv/oprel") if given else Config()
    facts = facts_of(
        config,
        given,
        ServiceKind.SYSTEMD_SYSTEM,
        user=user,
        file=Path("/etc/oprel.yaml"),
        drop_in=True,
        on_demand=True,
    )
    assert facts.sockets == (str(Path(facts.writable[0]) / "run/oprel.sock"), "127.0.0.1:11435")
    assert f"--home={home}" in facts.command
    assert [*facts.command][-2:] == ["--config=/etc/oprel.yaml", "--drop-in"]
    assert facts.writable == [home, home / "hub", home / "binaries"]
    assert not facts.shares_tmp


def test_folders_elsewhere_stay_writable_and_sockets_of_a_long_home_reachable() -> None:
    config = Config(home=f"/srv/{'long' * 30}", cache_dir="/srv/hub", binary_dir="/srv/engines")
    facts = facts_of(config, GIVEN, ServiceKind.SYSTEMD_USER, user="", file=None, drop_in=False, on_demand=False)
    assert facts.writable == [config.home_dir, Path("/srv/hub"), Path("/srv/engines")]
    assert facts.shares_tmp
