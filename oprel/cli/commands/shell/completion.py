"""`oprel completion SHELL`: prints a script with which the shell completes commands, flags and models."""

import argparse

from oprel.cli.screen import render

# Each calls `oprel __complete` to complete the last word of the line, and offers files where that prints nothing.
SCRIPTS = {
    # bash splits words at `:` and `=` and expects only the part after the last one.
    "bash": r"""_oprel() {
    local line="${COMP_LINE:0:COMP_POINT}" word found IFS=$'\n'
    word="${line##* }"
    found=($(oprel __complete "$line" 2>/dev/null))
    COMPREPLY=("${found[@]#"${word%"${word##*[:=]}"}"}")
}
complete -o default -o bashdefault -F _oprel oprel
""",
    "zsh": r"""#compdef oprel
_oprel() {
    local -a found
    found=("${(@f)$(oprel __complete "${(j: :)words[1,CURRENT]}" 2>/dev/null)}")
    if [[ -n "$found" ]]; then compadd -a found; else _files; fi
}
if [[ "$funcstack[1]" == _oprel ]]; then _oprel "$@"; else compdef _oprel oprel; fi
""",
    "fish": r"""complete -c oprel -a '(oprel __complete (commandline -cp) 2>/dev/null)'
""",
}
INSTALL = {
    "bash": 'eval "$(oprel completion bash)"   in ~/.bashrc',
    "zsh": 'eval "$(oprel completion zsh)"    in ~/.zshrc, after compinit',
    "fish": "oprel completion fish | source   in ~/.config/fish/config.fish",
}


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "completion",
        help="print a shell completion script",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Add one line to your shell's startup file:\n" + "\n".join(f"  {line}" for line in INSTALL.values()),
    )
    parser.add_argument("shell", choices=[*SCRIPTS])
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    render.data(SCRIPTS[args.shell])
    return 0
