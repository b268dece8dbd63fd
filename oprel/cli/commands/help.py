"""`oprel help [COMMAND]`."""

import argparse


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("help", help="explain oprel, or one of its commands")
    parser.add_argument("command", nargs="?", help="the command to explain")
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.cli.main import main as run

    return run([args.command, "--help"] if args.command else ["--help"])
