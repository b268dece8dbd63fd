"""Where each service manager keeps its file, and the commands that it is asked with. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from oprel.cli.services.service_files import LABEL, SOCKET_UNIT, UNIT, ServiceKind
from oprel.utils.process import systems

LINES = 200  # of the log
Command = Sequence[str]


@dataclass(frozen=True, kw_only=True)
class ServiceCommands:
    """`file`: what describes the service; `socket`: what describes its sockets, of systemd.

    `start` and `stop` are run one after the other; `reload`: after the removal.
    A first word `-` marks a command that may fail.
    """

    file: Path
    socket: Path | None = None
    start: Sequence[Command]
    stop: Sequence[Command]
    reload: Sequence[Command]
    status: Command
    logs: Command
    restart: Command


def commands_of(
    kind: ServiceKind, config_home: Path, log: Path, *, for_machine: bool = False, on_demand: bool = False
) -> ServiceCommands:
    """`config_home`: the user's folder of settings. `for_machine`: launchd's service of the machine.

    `on_demand`: the first client starts the daemon.
    """
    if kind is ServiceKind.LAUNCHD:
        return _launchd(log, for_machine=for_machine)
    return _systemd(config_home, for_machine=kind is ServiceKind.SYSTEMD_SYSTEM, on_demand=on_demand)


def _systemd(config_home: Path, *, for_machine: bool, on_demand: bool) -> ServiceCommands:
    scope = [] if for_machine else ["--user"]
    control = ["systemctl", *scope]
    folder = Path("/etc/systemd/system") if for_machine else config_home / "systemd" / "user"
    start: list[Command] = [[*control, "daemon-reload"]]
    if on_demand:  # sockets of a running service cannot be started
        start += [["-", *control, "disable", "--now", UNIT], [*control, "enable", SOCKET_UNIT]]
    else:
        start.append([*control, "enable", UNIT])
    return ServiceCommands(
        file=folder / UNIT,
        socket=folder / SOCKET_UNIT,
        start=[*start, [*control, "restart", SOCKET_UNIT if on_demand else UNIT]],
        stop=[["-", *control, "disable", "--now", SOCKET_UNIT, UNIT]],
        reload=[["-", *control, "daemon-reload"]],
        status=[*control, "status", "--no-pager", UNIT],
        logs=["journalctl", *scope, f"--unit={UNIT}", f"--lines={LINES}", "--no-pager"],
        restart=[*control, "restart", UNIT],
    )


def _launchd(log: Path, *, for_machine: bool) -> ServiceCommands:
    domain = "system" if for_machine else f"gui/{systems.user_id()}"
    folder = Path("/Library/LaunchDaemons") if for_machine else Path.home() / "Library" / "LaunchAgents"
    file, target = folder / f"{LABEL}.plist", f"{domain}/{LABEL}"
    return ServiceCommands(
        file=file,
        start=[["-", "launchctl", "bootout", target], ["launchctl", "bootstrap", domain, str(file)]],
        stop=[["-", "launchctl", "bootout", target]],
        reload=[],
        status=["launchctl", "print", target],
        logs=["tail", "-n", str(LINES), str(log)],
        restart=["launchctl", "kickstart", target],
    )
