"""`oprel restart`: stops the daemon and starts it again, with the settings that hold now."""

import argparse

from oprel.cli.options import add_address, config_from, given_from
from oprel.cli.screen import render
from oprel.cli.screen.settings_notes import running_daemon
from oprel.core.config import Config, config_of
from oprel.core.configuration.published import PublishedSettings
from oprel.core.exceptions import OprelError, ValidationError


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("restart", help="restart the daemon, so that changed settings take effect")
    parser.add_argument("--now", action="store_true", help="do not let running answers finish")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    """Loaded models are loaded again. Flags of the `oprel serve` that runs stay, unless they are set here."""
    from oprel.client.own_daemon import ensure_daemon, stop_daemon

    config = config_from(args, compared=False)
    if config.host:
        raise ValidationError(f"the daemon at {config.host} is not this machine's own", "Restart it on its machine.")
    daemon = running_daemon(config)
    if daemon and daemon.service:
        return _restart_service(config, daemon.service, now=args.now)
    config, drop_in = (config, False) if daemon is None else _with_flags_of(daemon, args)
    stopped = stop_daemon(config, now=args.now)
    ensure_daemon(config, drop_in=drop_in)
    render.line("restarted the daemon" if stopped else "started the daemon: none was running")
    return 0


def _restart_service(config: Config, service: str, *, now: bool) -> int:
    """Let the service manager do it, else the next daemon would be none of its services."""
    from oprel.cli.commands.daemon.service import run_manager, service_commands
    from oprel.cli.services.service_files import ServiceKind
    from oprel.client.own_daemon import stop_daemon

    kind = ServiceKind(service)
    if kind is ServiceKind.WINDOWS:
        raise OprelError("the daemon is a service of Windows", "Restart the service there.")
    if now or kind is ServiceKind.LAUNCHD:  # whose own restart lets no answer finish
        stop_daemon(config, now=now)
    own = service_commands(config, kind, for_machine=False)
    command = (own if own.file.exists() else service_commands(config, kind, for_machine=True)).restart
    if run_manager(command):
        raise OprelError(f"`{' '.join(command)}` failed", "`oprel service logs` may say why.")
    render.line("restarted the service")
    return 0


def _with_flags_of(daemon: PublishedSettings, args: argparse.Namespace) -> tuple[Config, bool]:
    """The settings of the next daemon, and whether it is a drop-in one."""
    given = given_from(args, drop_in=daemon.drop_in)
    flags = {
        name: setting
        for name, setting in daemon.settings.items()
        if setting.origin.startswith("--") and name not in given
    }
    if secret := [name for name, setting in flags.items() if setting.digest]:
        render.note(f"not kept, since it may hold a secret: {', '.join(secret)} of `oprel serve`")
    kept = {name: setting.value for name, setting in flags.items() if not setting.digest}
    return config_of(given).replace(**kept), daemon.drop_in
