"""Other machines reach the daemon only with keys, or where its user says that they need none."""

import pytest

from oprel.core.config import Config
from oprel.core.exceptions import ConfigError
from oprel.server.access.listening import check_listening

OPEN = Config(allow_unauthenticated_lan="on")


@pytest.mark.parametrize("hosts", [["127.0.0.1"], ["127.0.0.1", "::1"], ["::ffff:127.0.0.1"], ["127.9.9.9"]])
def test_this_machine_needs_no_keys(hosts: list[str]) -> None:
    assert check_listening(hosts, Config(), has_keys=False) == ""
    assert check_listening(hosts, OPEN, has_keys=False) == ""


@pytest.mark.parametrize("hosts", [["0.0.0.0"], ["::"], ["127.0.0.1", "192.168.1.2"], ["fe80::1"]])
def test_others_need_keys_or_the_users_word(hosts: list[str]) -> None:
    with pytest.raises(ConfigError, match="reaches other machines, and there are no keys") as refused:
        check_listening(hosts, Config(), has_keys=False)
    assert "oprel keys add" in refused.value.resolution_steps[0]
    assert check_listening(hosts, Config(), has_keys=True) == ""
    for has_keys in (False, True):
        assert "without a key" in check_listening(hosts, OPEN, has_keys=has_keys)
