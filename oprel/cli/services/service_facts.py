"""What a service file has to know of this machine, its users and the settings."""

import ipaddress
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from oprel.cli.services.service_files import NAME, STATE_FOLDER, ServiceFacts, ServiceKind
from oprel.core.config import Config
from oprel.core.configuration.given import Given, variable_of
from oprel.core.configuration.published import without_secrets
from oprel.core.exceptions import OprelError, ValidationError
from oprel.utils.process import systems

GPU_GROUPS = ("render", "video")
NOT_IN_SERVICES = ("home", "host")  # of the command line; the daemon has no host


def usual_kind(*, for_machine: bool) -> ServiceKind:
    if sys.platform == "darwin":
        return ServiceKind.LAUNCHD
    return ServiceKind.SYSTEMD_SYSTEM if for_machine else ServiceKind.SYSTEMD_USER


def facts_of(
    config: Config,
    given: Given,
    kind: ServiceKind,
    *,
    user: str,
    file: Path | None,
    drop_in: bool,
    on_demand: bool,
) -> ServiceFacts:
    """`user`: of a service of the machine, else empty. `file`: a configuration file other than the usual one."""
    home = config.home_dir if "home" in given or not user else STATE_FOLDER
    config = config.replace(home=str(home))
    command = [sys.executable, "-P", "-m", "oprel", "serve", f"--service={kind}", f"--home={home}"]
    command += [f"--config={file.absolute()}"] if file else []
    return ServiceFacts(
        command=command + (["--drop-in"] if drop_in else []),
        environment=environment_of(given),
        writable=list(dict.fromkeys([home, config.hub_dir, config.engines_dir])),
        user=user,
        groups=[name for name in GPU_GROUPS if _is_group(name)],
        shares_tmp=not config.run_dir.is_relative_to(home),
        needs_setuid=_is_setuid(shutil.which("nvidia-modprobe")),
        log=config.logs_dir / "daemon.log",
        sockets=_sockets(config) if on_demand else (),
    )


def _sockets(config: Config) -> tuple[str, ...]:
    """The home's socket, and the port where its address is one that systemd understands."""
    host = "127.0.0.1" if config.server_host == "localhost" else config.server_host
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return (str(config.socket_path),)
    port = [f"{f'[{address}]' if address.version == 6 else address}:{config.server_port}"] if config.server_port else []
    return (str(config.socket_path), *port)


def environment_of(given: Given) -> dict[str, str]:
    """Settings of this environment, which the service would not have; without those that may hold a secret."""
    return {
        variable_of(name): str(setting.value)
        for name, setting in given.items()
        if name not in NOT_IN_SERVICES and setting.origin.isidentifier()
        if without_secrets(name, setting.value) == setting.value
    }


def secret_settings(given: Given) -> list[str]:
    """Variables of this environment that `environment_of` leaves out for their secrets."""
    return [
        setting.origin
        for name, setting in given.items()
        if setting.origin.isidentifier() and without_secrets(name, setting.value) != setting.value
    ]


def prepare_user(user: str, folders: Sequence[Path]) -> None:
    """Create the service's own user, and its folders, where they are missing.

    Raises OprelError if the user cannot run this program.
    """
    if sys.platform == "win32" or not systems.is_root():
        raise ValidationError("a service of the machine is installed by root", "Use sudo, or leave --system out.")
    import pwd

    try:
        pwd.getpwnam(user)
    except KeyError:
        _create_user(user)
    entry = pwd.getpwnam(user)
    if entry.pw_uid and (closed := _closed_folder(entry.pw_uid)):
        raise OprelError(
            f"the user {user} cannot run {sys.executable}: {closed} is closed to others",
            "Install oprel where all users can read it, for example in /opt/oprel, or choose a user with --user.",
        )
    for folder in folders:
        if not folder.exists() and folder != STATE_FOLDER:  # systemd makes that one
            folder.mkdir(parents=True, mode=0o700)
            shutil.chown(folder, user)


def _create_user(user: str) -> None:
    if user != NAME:
        raise ValidationError(f"there is no user {user}", f"Create it, or leave --user out for {NAME}.")
    command = ["useradd", "--system", f"--home-dir={STATE_FOLDER}", "--shell=/usr/sbin/nologin", user]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        why = getattr(error, "stderr", "") or error
        raise OprelError(f"cannot create the user {user}: {why}", f"Run: {' '.join(command)}") from error


def _closed_folder(uid: int) -> Path | None:
    """A folder above this interpreter, or above the one that it is a link to, which the user may not enter."""
    program = Path(sys.executable)
    for folder in (*reversed(program.parents), *reversed(program.resolve().parents)):
        status = folder.stat()
        if not status.st_mode & (stat.S_IXUSR if status.st_uid == uid else stat.S_IXOTH):
            return folder
    return None


def _is_group(name: str) -> bool:
    if sys.platform == "win32":
        return False
    import grp

    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _is_setuid(program: str | None) -> bool:
    return bool(program and os.stat(program).st_mode & stat.S_ISUID)
