"""`oprel service install|uninstall|status|logs`: runs the daemon as a service of systemd or launchd."""

import argparse
import subprocess
from collections.abc import Sequence
from typing import TYPE_CHECKING

from oprel.cli.options import add_home, config_from, given_from
from oprel.cli.screen import render
from oprel.core.config import Config, config_file, usual_config_file
from oprel.core.exceptions import OprelError, ValidationError

if TYPE_CHECKING:
    from oprel.cli.services.service_commands import Command, ServiceCommands
    from oprel.cli.services.service_files import ServiceKind

KINDS = ("systemd-user", "systemd-system", "launchd", "windows")
LINGER = "It runs while you are logged in; `loginctl enable-linger` keeps it running after that."


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("service", help="run the daemon as a service that starts with the machine")
    text = "install and start it, stop and uninstall it, or show its status (the default) or its log"
    parser.add_argument(
        "action", nargs="?", choices=("install", "uninstall", "status", "logs"), default="status", help=text
    )
    parser.add_argument("--system", action="store_true", help="a service of the machine instead of this user's")
    parser.add_argument("--user", metavar="NAME", help="with --system: the user that it runs as (default: oprel)")
    parser.add_argument("--drop-in", action="store_true", help="with install: replace Ollama, as in `oprel serve`")
    parser.add_argument(
        "--on-demand", action="store_true", help="with install: start it with its first client (systemd only)"
    )
    parser.add_argument("--print", action="store_true", help="with install: only print the service's file")
    parser.add_argument("--kind", choices=KINDS, help="with install --print: for which service manager")
    parser.add_argument("-f", "--follow", action="store_true", help="with logs: keep printing new lines")
    add_home(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    """The exit status of `status` and `logs` is that of the service manager's own command."""
    from oprel.cli.services.service_facts import usual_kind
    from oprel.cli.services.service_files import ServiceKind

    config = config_from(args, compared=False)
    kind = ServiceKind(args.kind) if args.kind else usual_kind(for_machine=args.system)
    if args.kind and not args.print:
        raise ValidationError("--kind needs --print", "The kind of this machine's service manager is known.")
    if args.user and not args.system:
        raise ValidationError("--user needs --system", "A service of your own runs as you.")
    if args.on_demand and not kind.name.startswith("SYSTEMD"):
        raise ValidationError("--on-demand needs systemd", f"{kind.value} would not start it with its first client.")
    if args.action == "install":
        return _install(args, config, kind)
    commands = service_commands(config, kind, for_machine=args.system)
    if not commands.file.exists():
        raise OprelError(f"the service is not installed: there is no {commands.file}", "`oprel service install`")
    if args.action == "uninstall":
        return _uninstall(commands)
    command = commands.status if args.action == "status" else commands.logs
    return _shown([*command, *(["-f"] if args.follow else [])])


def service_commands(
    config: Config, kind: "ServiceKind", *, for_machine: bool, on_demand: bool = False
) -> "ServiceCommands":
    from oprel.cli.services.service_commands import commands_of

    config_home = usual_config_file().parents[1]
    log = config.logs_dir / "daemon.log"
    return commands_of(kind, config_home, log, for_machine=for_machine, on_demand=on_demand)


def _install(args: argparse.Namespace, config: Config, kind: "ServiceKind") -> int:
    from oprel.cli.services.service_facts import facts_of, prepare_user, secret_settings
    from oprel.cli.services.service_files import NAME, SOCKET_UNIT, ServiceKind, service_file, systemd_socket
    from oprel.client.own_daemon import stop_daemon
    from oprel.core.home import prepare_home
    from oprel.utils.files import write_atomically

    given = given_from(args)
    is_machines = args.system or kind is ServiceKind.SYSTEMD_SYSTEM
    user = (args.user or NAME) if is_machines else ""
    file = args.config or (named if (named := config_file()) != usual_config_file() else None)
    facts = facts_of(config, given, kind, user=user, file=file, drop_in=args.drop_in, on_demand=args.on_demand)
    if args.print:
        sockets = f"# {SOCKET_UNIT}\n{systemd_socket(facts)}" if args.on_demand else ""
        render.data(service_file(facts, kind) + sockets)
        return 0
    commands = service_commands(config, kind, for_machine=is_machines, on_demand=args.on_demand)
    _check_manager(commands.restart[0])
    if user:
        prepare_user(user, facts.writable)
    if left_out := secret_settings(given):
        render.note(f"not in the service, since it may hold a secret: {', '.join(left_out)}")
    commands.file.parent.mkdir(parents=True, exist_ok=True)
    if not user:
        prepare_home(config)
    write_atomically(commands.file, service_file(facts, kind).encode())
    commands.file.chmod(0o644)
    _write_socket(commands, systemd_socket(facts) if args.on_demand else "")
    if not user and stop_daemon(config):
        render.note("stopped the daemon that a command had started: the service takes its place")
    _run_all(commands.start)
    done = "it starts with its first client" if args.on_demand else "started the service"
    render.line(f"installed {commands.file}, and {done}")
    if kind is ServiceKind.SYSTEMD_USER:
        render.note(LINGER)
    return 0


def _write_socket(commands: "ServiceCommands", text: str) -> None:
    """Write the unit of the sockets; without a text, remove an earlier one."""
    from oprel.utils.files import write_atomically

    if text and commands.socket:
        write_atomically(commands.socket, text.encode())
        commands.socket.chmod(0o644)
    elif commands.socket and commands.socket.exists():
        run_manager(["systemctl", *commands.restart[1:-2], "disable", "--now", commands.socket.name], quiet=True)
        commands.socket.unlink()


def _uninstall(commands: "ServiceCommands") -> int:
    _run_all(commands.stop)
    commands.file.unlink()
    if commands.socket:
        commands.socket.unlink(missing_ok=True)
    _run_all(commands.reload)
    render.line("stopped and removed the service; models and settings stay")
    return 0


def _run_all(commands: "Sequence[Command]") -> None:
    for command in commands:
        may_fail = command[0] == "-"
        words = command[1:] if may_fail else command
        if run_manager(words, quiet=may_fail) and not may_fail:
            raise OprelError(f"`{' '.join(words)}` failed", "`oprel service logs` may say why.")


def _check_manager(program: str) -> None:
    """Raises OprelError, before anything is changed, if there is no such service manager."""
    from shutil import which

    if which(program) is None:
        raise OprelError(
            f"this machine has no {program}",
            "For another service manager, `oprel service install --print` prints the file.",
        )


def run_manager(command: "Command", *, quiet: bool = False) -> int:
    """Run a command of the service manager; its exit status."""
    _check_manager(command[0])
    output = subprocess.DEVNULL if quiet else None
    return subprocess.run(command, stdin=subprocess.DEVNULL, stderr=output, check=False).returncode


def _shown(command: "Command") -> int:
    try:
        return run_manager(command)
    except KeyboardInterrupt:  # ends `-f`
        return 130
