"""A home in which any file or folder is damaged: a daemon starts, and `oprel doctor` says what is wrong."""

from contextlib import closing
from pathlib import Path

import pytest

from oprel.cli.checks.home_checks import home_faults
from oprel.core.completion import PromptMessage
from oprel.core.config import Config
from oprel.core.home import prepare_home
from oprel.runtime.supervisor import records
from oprel.server.daemon.healing import heal_home
from oprel.server.downloads.records import SCHEMA
from oprel.server.history import conversations
from oprel.server.models.last_use import LastUse
from oprel.utils.database import heal
from tests.fixtures.damaged_homes import CASES, Damaging, damage, write_home


@pytest.fixture
def written(config: Config, tiny: Path) -> Config:
    write_home(config, tiny)
    return config


def start(config: Config) -> None:
    """What a daemon does with its home before it serves."""
    prepare_home(config)
    records.reconcile(config.run_dir)
    heal_home(config)
    heal(config.home_dir / "state.db", (conversations.SCHEMA, SCHEMA))


def test_a_whole_home_stays_as_it_is(written: Config) -> None:
    files = {path: path.read_bytes() for path in written.home_dir.rglob("*") if path.is_file()}
    assert list(home_faults(written)) == []
    start(written)
    assert {path: path.read_bytes() for path in files} == files
    assert list(home_faults(written)) == []


@pytest.mark.parametrize(("place", "damaging"), CASES, ids=lambda value: getattr(value, "__name__", value))
def test_a_damaged_home_is_healed_and_reported(written: Config, place: str, damaging: Damaging) -> None:
    damage(written, place, damaging)
    start(written)
    faults = list(home_faults(written))
    assert faults, "doctor is silent"
    with closing(conversations.Conversations(written.home_dir / "state.db")) as kept:
        assert kept.append("", "new", PromptMessage("user", "hello"))
    with closing(conversations.Conversations(written.home_dir / "state.db")) as kept:
        assert kept.messages("", "new")
    use = LastUse(written.home_dir / "last-used.json")
    use.close()
    assert (written.home_dir / "last-used.json").is_file()
    start(written)
    assert list(home_faults(written)) == faults, "the second start found something else"
