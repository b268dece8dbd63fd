"""The files by which service managers know the daemon: systemd's unit, launchd's property list, WinSW's XML. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

NAME = "oprel"
UNIT = f"{NAME}.service"
SOCKET_UNIT = f"{NAME}.socket"
LABEL = "ai.oprel.daemon"  # launchd's
STATE_FOLDER = Path("/var/lib/oprel")  # home of a service of the machine
SUMMARY = "oprel, a daemon that runs language models"


class ServiceKind(StrEnum):
    SYSTEMD_USER = "systemd-user"
    SYSTEMD_SYSTEM = "systemd-system"
    LAUNCHD = "launchd"
    WINDOWS = "windows"


@dataclass(frozen=True, kw_only=True)
class ServiceFacts:
    """What a service file says.

    `command`: starts the daemon. `environment`: settings that the file of settings does not have. `writable`: folders
    that the daemon writes to. `user` and `groups`: of a service of the machine; groups that may use GPUs.
    `shares_tmp`: whether the daemon's sockets are in the folder of temporary files. `needs_setuid`: whether a program
    that gets root's rights, nvidia-modprobe, may have to make a GPU's device files. `log`: of launchd.
    `sockets`: on which systemd listens, and starts the daemon with its first client.
    """

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    writable: Sequence[Path] = ()
    user: str = ""
    groups: Sequence[str] = ()
    shares_tmp: bool = False
    needs_setuid: bool = False
    log: Path = Path("/dev/null")
    sockets: Sequence[str] = ()


# A wrong setting, or a port in use, stays wrong: the daemon exits with 2, and is not started again.
# KillMode=mixed: engines finish the answers that the daemon lets finish. OOMPolicy: the daemon replaces an engine that
# ran out of memory; systemd would end both. Delegate: engines have control groups of their own, beside the daemon's.
COMMON = """\
Type=notify
NotifyAccess=main
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=2
RestartPreventExitStatus=2
TimeoutStartSec=120
TimeoutStopSec=90
WatchdogSec=60
KillMode=mixed
OOMPolicy=continue
Delegate=memory
LimitNOFILE=65536
UMask=0077
"""
# RestrictNamespaces: engines run in an empty network namespace, which takes a user namespace.
# Not here, since GPUs need what they forbid: PrivateDevices, DevicePolicy, ProtectClock (allows the clock as the only
# device), MemoryDenyWriteExecute (drivers compile) and ProtectProc (the load of other programs is planned with); nor
# ProtectControlGroups, as engines get groups, and other groups cannot be written anyway.
HARDENING = """\
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces=net user
SystemCallArchitectures=native
SystemCallFilter=~@clock @cpu-emulation @module @mount @obsolete @raw-io @reboot @swap
SystemCallErrorNumber=EPERM
"""
SYSTEM_HARDENING = """\
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=read-only
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
LimitMEMLOCK=infinity
"""


def systemd_unit(facts: ServiceFacts, kind: ServiceKind) -> str:
    """A unit of the user's manager, or of the machine's."""
    is_system = kind is ServiceKind.SYSTEMD_SYSTEM
    command = [_unit_word(word).replace("$", "$$") for word in facts.command]  # a command has variables too
    service = [f"ExecStart={' '.join(command)}", *COMMON.splitlines()]
    service += [f"Environment={_unit_word(f'{name}={value}')}" for name, value in facts.environment.items()]
    if is_system:
        service += _system_lines(facts)
    elif facts.needs_setuid:
        service += ["# No NoNewPrivileges and nothing that implies it: nvidia-modprobe may have to make device files."]
    if is_system or not facts.needs_setuid:
        service += HARDENING.splitlines()
    sections = {
        "Unit": [f"Description={SUMMARY}", f"Documentation=man:{NAME}(1)", *_start_limits(is_system)],
        "Service": service,
        "Install": [f"WantedBy={'multi-user' if is_system else 'default'}.target"],
    }
    return "\n".join(f"[{title}]\n" + "".join(f"{line}\n" for line in lines) for title, lines in sections.items())


def systemd_socket(facts: ServiceFacts) -> str:
    """The unit by which systemd listens in the daemon's place until somebody connects."""
    owner = [f"SocketUser={facts.user}"] if facts.user else []
    listening = [f"ListenStream={address.replace('%', '%%')}" for address in facts.sockets]
    lines = ["[Unit]", f"Description=sockets of {NAME}", "[Socket]", *listening, "SocketMode=0600", *owner]
    return "\n".join([*lines, "DirectoryMode=0700", "Backlog=2048", "[Install]", "WantedBy=sockets.target", ""])


def _start_limits(is_system: bool) -> list[str]:
    return [*(["After=network.target"] if is_system else []), "StartLimitIntervalSec=300", "StartLimitBurst=5"]


def _system_lines(facts: ServiceFacts) -> list[str]:
    lines = [f"User={facts.user}", *SYSTEM_HARDENING.splitlines(), f"PrivateTmp={'no' if facts.shares_tmp else 'yes'}"]
    if STATE_FOLDER in facts.writable:
        lines += [f"StateDirectory={STATE_FOLDER.name}", "StateDirectoryMode=0700"]
    if facts.groups:
        lines.append(f"SupplementaryGroups={' '.join(facts.groups)}")
    if facts.needs_setuid:
        lines.append("ExecStartPre=+-/usr/bin/nvidia-modprobe -c0 -u")
    folders = [folder for folder in facts.writable if folder != STATE_FOLDER]
    return lines + [f"ReadWritePaths={_unit_word(f'-{folder}')}" for folder in folders]


def _unit_word(word: str) -> str:
    """A word of a unit's line: quoted where necessary, and without specifiers.

    >>> _unit_word("--home=/srv/a b"), _unit_word("50%")
    ('"--home=/srv/a b"', '50%%')
    """
    text = word.replace("\\", "\\\\").replace("%", "%%").replace('"', '\\"')
    return f'"{text}"' if any(sign in text for sign in " \\'") else text


def launchd_plist(facts: ServiceFacts) -> str:
    """A property list. The process type keeps macOS from throttling engines as it does programs in the background."""
    import plistlib

    content: dict[str, object] = {
        "Label": LABEL,
        "ProgramArguments": [*facts.command],
        "EnvironmentVariables": dict(facts.environment),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 10,
        "ExitTimeOut": 90,
        "ProcessType": "Interactive",
        "Umask": 0o077,
        "StandardOutPath": str(facts.log),
        "StandardErrorPath": str(facts.log),
    }
    if facts.user:
        content["UserName"] = facts.user
    return plistlib.dumps(content).decode()


def windows_service(facts: ServiceFacts) -> str:
    """A service of Windows that runs the daemon in WSL, by WinSW: oprel itself needs Linux or macOS."""
    from subprocess import list2cmdline
    from xml.sax.saxutils import escape

    assigned = [f"{name}={value}" for name, value in facts.environment.items()]
    arguments = escape(list2cmdline(["--exec", "env", *assigned, *facts.command]))
    return f"""\
<service>
  <id>{NAME}</id>
  <name>{NAME}</name>
  <description>{SUMMARY}</description>
  <executable>%SystemRoot%\\System32\\wsl.exe</executable>
  <arguments>{arguments}</arguments>
  <startmode>Automatic</startmode>
  <onfailure action="restart" delay="10 sec"/>
  <resetfailure>1 hour</resetfailure>
  <stoptimeout>90 sec</stoptimeout>
  <log mode="roll-by-size"/>
</service>
"""


def service_file(facts: ServiceFacts, kind: ServiceKind) -> str:
    match kind:
        case ServiceKind.LAUNCHD:
            return launchd_plist(facts)
        case ServiceKind.WINDOWS:
            return windows_service(facts)
        case _:
            return systemd_unit(facts, kind)
