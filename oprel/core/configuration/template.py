"""The text of a new configuration file: every setting as a comment, with its default. Pure."""

from oprel.core.config import SETTINGS
from oprel.core.settings import DeclaredSetting

HEAD = """\
# Settings of oprel. Remove the `#` before a line that you change. `oprel config validate` checks this file,
# `oprel config show` tells what is in effect, and `oprel restart` makes the daemon read it.
"""


def template() -> str:
    """The text; as it is, it sets nothing."""
    return "\n".join([HEAD, *map(_entry, SETTINGS.values())])


def _entry(setting: DeclaredSetting) -> str:
    choices = f": {', '.join(setting.choices)}" if setting.choices else ""
    default = f'"{setting.default}"' if isinstance(setting.default, str) else setting.default
    return f"## {setting.help}{choices}\n# {setting.name}: {default}\n"
