"""Whether the daemon may listen where it is told to: other machines need keys, or the user's word that they do not."""

from collections.abc import Iterable

from oprel.core.config import Config
from oprel.core.configuration.addresses import is_loopback
from oprel.core.exceptions import ConfigError

MAKE_KEY = "Make a key: `oprel keys add NAME`. This machine's own user needs none."
TRUST_ALL = "Or set allow_unauthenticated_lan: on, if you trust every machine that reaches it."
STAY_LOCAL = "Or listen for this machine only: --server-host 127.0.0.1."


def check_listening(hosts: Iterable[str], config: Config, *, has_keys: bool) -> str:
    """A warning for the log about the addresses that are listened on, or "". Raises ConfigError if they need keys."""
    exposed = ", ".join(host for host in hosts if not is_loopback(host))
    if not exposed:
        return ""
    if config.allow_unauthenticated_lan == "on":
        return (
            f"{exposed} reaches other machines, which may use models without a key (allow_unauthenticated_lan): "
            "see docs/security.md"
        )
    if has_keys:
        return ""
    raise ConfigError(f"{exposed} reaches other machines, and there are no keys", MAKE_KEY, TRUST_ALL, STAY_LOCAL)
