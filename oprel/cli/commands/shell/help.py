"""`oprel help [COMMAND]`: same as `--help`."""

import argparse


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("help", help="show the help of oprel or of a command")
    parser.add_argument("command", nargs="?", help="the command to show the help of")
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.cli.main import main as run

    return run([args.command, "--help"] if args.command else ["--help"])
