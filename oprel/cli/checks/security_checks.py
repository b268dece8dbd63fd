"""`oprel doctor --security`: a verdict for each rule of docs/security.md about who may use the daemon."""

import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from oprel.cli.checkup import CheckupFinding, check_folder, in_effect
from oprel.core.config import Config
from oprel.core.configuration.addresses import is_loopback, parse_proxies
from oprel.core.exceptions import ConfigError
from oprel.core.state.keys import KeyStore, StoredKey
from oprel.utils.database import connected_to_read

CHECKED_SETTINGS = (
    *("server_host", "origins", "allowed_hosts", "trusted_proxies"),
    *("share_with_local_users", "allow_unauthenticated_lan", "tls_certificate", "tls_self_signed", "listen"),
)
MOST_PROXIES = 2**24  # addresses of a network, such as 10.0.0.0/8
Check = Callable[[Config], Iterator[CheckupFinding]]


def security_findings(config: Config) -> Iterator[CheckupFinding]:
    """The verdicts on this machine's daemon: on its settings if it runs, else on those that the next one would have."""
    if config.host:
        text = f"{config.host} is another daemon's address: its own machine knows how it is set up"
        yield _error("security", text, "Run the command there, without --host.")
        return
    config = in_effect(config, CHECKED_SETTINGS)
    for check in CHECKS:
        yield from check(config)


def check_listening(config: Config) -> Iterator[CheckupFinding]:
    host = config.server_host
    if is_loopback(host):
        yield _ok("listening", f"only this machine reaches {host}")
    elif config.allow_unauthenticated_lan == "on":
        yield _warning(
            "listening",
            f"{host} reaches other machines, which may use models without a key (allow_unauthenticated_lan)",
            "Make keys with `oprel keys add NAME`, and remove allow_unauthenticated_lan.",
        )
    else:
        yield _ok("listening", f"{host} reaches other machines, which need a key")


def check_local_users(config: Config) -> Iterator[CheckupFinding]:
    if config.share_with_local_users == "on":
        yield _ok("local users", "other users of this machine may use models (share_with_local_users)")
    else:
        yield _ok("local users", "other users of this machine need a key")


def check_keys(config: Config) -> Iterator[CheckupFinding]:
    keys, now = _stored_keys(config), time.time()
    valid = [key for key in keys if not key.is_expired(now)]
    over = [key.name for key in keys if key.is_expired(now)]
    if not (valid or config.api_keys) and _is_exposed(config) and config.allow_unauthenticated_lan != "on":
        text = f"there are no keys, so a daemon refuses to listen on {config.server_host}"
        yield _error("keys", text, "Make one: `oprel keys add NAME`.")
    elif over:
        yield _warning("keys", f"these have expired: {', '.join(over)}", f"oprel keys rm {over[0]}")
    else:
        admins = [key.name for key in valid if key.scope == "admin"]
        counted = f"{len(valid)} of `oprel keys`" + (", and those of api_keys" if config.api_keys else "")
        rights = f"; {', '.join(admins)} may do all that the own user may" if admins else ""
        yield _ok("keys", f"{counted}{rights}" if valid or config.api_keys else "none, and none is needed")


def check_encryption(config: Config) -> Iterator[CheckupFinding]:
    is_encrypted = bool(config.tls_certificate) or config.tls_self_signed == "on"
    if is_encrypted or not _is_exposed(config):
        where = "it speaks HTTPS" if is_encrypted else "nothing leaves this machine"
        yield _ok("encryption", where)
    else:
        text = f"who listens in the network of {config.server_host} reads prompts, answers and keys"
        yield _warning("encryption", text, "Use HTTPS: `oprel serve --tls-self-signed`, or a proxy with a certificate.")


def check_shared_sockets(config: Config) -> Iterator[CheckupFinding]:
    for address in config.further_addresses:
        path = Path(address.removeprefix("unix:").partition("?")[0])
        try:
            mode = stat.S_IMODE(path.lstat().st_mode) if address.startswith("unix:") else 0
        except OSError:  # no daemon runs
            continue
        if mode & 0o006:
            text = f"any user of this machine reaches {path} (mode {mode:04o}); each needs a key"
            yield _warning("listen", text, "Give it a group in `listen`: `?mode=0660&group=NAME`.")
        else:
            yield _ok("listen", f"{address}: its other users need a key")


def _is_exposed(config: Config) -> bool:
    return not is_loopback(config.server_host)


def _stored_keys(config: Config) -> list[StoredKey]:
    """Those of `oprel keys`; none where there is no file, or none yet."""
    try:
        with closing(connected_to_read(config.home_dir / "state.db")) as database:
            return KeyStore(database).all()
    except (sqlite3.Error, ValueError):
        return []


def check_hosts(config: Config) -> Iterator[CheckupFinding]:
    wide = [host for host in _parts(config.allowed_hosts) if "*" in host and "." not in host.strip("*.")]
    if wide:
        yield _warning(
            "hosts",
            f"allowed_hosts has {', '.join(wide)}: web pages may point such a name at this machine",
            "Name the hosts, or the domain that is yours.",
        )
    else:
        others = f", and {', '.join(_parts(config.allowed_hosts))}" if config.allowed_hosts else ""
        yield _ok("hosts", f"URLs must name this machine or its addresses{others}")


def check_origins(config: Config) -> Iterator[CheckupFinding]:
    if "*" in _parts(config.origins) or "null" in _parts(config.origins):
        yield _warning(
            "origins",
            f"{config.origins} lets any web page use models and remove them",
            "Name the pages: `origins: https://chat.example`.",
        )
    else:
        others = f", and {', '.join(_parts(config.origins))}" if config.origins else ""
        yield _ok("origins", f"web pages of this machine may use models{others}")


def check_proxies(config: Config) -> Iterator[CheckupFinding]:
    try:
        proxies = parse_proxies(config.trusted_proxies)
    except ConfigError as error:
        yield _error("proxies", error.message, *error.resolution_steps)
        return
    if wide := [str(network) for network in proxies.networks if network.num_addresses > MOST_PROXIES]:
        text = f"trusted_proxies has {', '.join(wide)}: any client there may claim another address"
        yield _warning("proxies", text, "Name the proxies.")
    elif config.trusted_proxies:
        yield _ok("proxies", f"{config.trusted_proxies} may name the addresses of clients")
    else:
        yield _ok("proxies", "none is trusted: what passed a proxy needs a key")


def check_files(config: Config) -> Iterator[CheckupFinding]:
    yield check_folder("home", config.home_dir)
    yield check_folder("run folder", config.run_dir)
    yield from check_socket(config.socket_path)


def check_socket(path: Path) -> Iterator[CheckupFinding]:
    try:
        mode = stat.S_IMODE(path.lstat().st_mode)
    except OSError:  # no daemon runs
        return
    if mode & 0o077:
        text = f"{path} has the mode {mode:04o}: other users reach it, who need a key"
        yield _warning("socket", text, f"chmod 600 {path}")
    else:
        yield _ok("socket", f"{path} is this user's alone")


# Each check says at least what holds, so that its absence is noticed.
CHECKS: tuple[Check, ...] = (
    check_listening,
    check_keys,
    check_encryption,
    check_shared_sockets,
    check_local_users,
    check_hosts,
    check_origins,
    check_proxies,
    check_files,
)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _ok(subject: str, text: str) -> CheckupFinding:
    return CheckupFinding(subject=subject, level="ok", text=text)


def _warning(subject: str, text: str, *advice: str) -> CheckupFinding:
    return CheckupFinding(subject=subject, level="warning", text=text, advice=[*advice])


def _error(subject: str, text: str, *advice: str) -> CheckupFinding:
    return CheckupFinding(subject=subject, level="error", text=text, advice=[*advice])
