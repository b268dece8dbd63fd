"""What the wheel has beside the package, by its path under the prefix of an installation."""

from oprel.cli.commands.shell.completion import SCRIPTS
from tools.packaging.man_page import man_page

COMPLETIONS = {
    "bash": "share/bash-completion/completions/oprel",
    "zsh": "share/zsh/site-functions/_oprel",
    "fish": "share/fish/vendor_completions.d/oprel.fish",
}
MAN_PAGE = "share/man/man1/oprel.1"


def shared_files() -> dict[str, str]:
    return {MAN_PAGE: man_page(), **{path: SCRIPTS[shell] for shell, path in COMPLETIONS.items()}}
