"""YAML whose keys are unique, and the lines that they are on."""

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from oprel.core.exceptions import ConfigError

if TYPE_CHECKING:
    from yaml import Node

KeyPath = tuple[str, ...]
MERGE = "<<"  # a key that may occur again: it only includes other mappings


class YamlDocument(NamedTuple):
    """`lines` are those of the keys, counted from 1; `("models", "tiny", "pin")` is a key in two mappings."""

    content: object
    lines: Mapping[KeyPath, int]


def read_yaml_file(file: Path) -> YamlDocument:
    """Raises ConfigError like `read_yaml`, and OSError, also for a FIFO, which might never open.

    One of a shell, as in `OPREL_CONFIG=<(command)`, is in /dev.
    """
    if file.is_fifo() and not file.is_relative_to("/dev"):
        raise OSError(errno.EINVAL, "it is not a regular file")
    return read_yaml(file.read_bytes(), str(file))


def read_yaml(text: str | bytes, source: str) -> YamlDocument:
    """Raises ConfigError, which names the source, for what is not valid YAML and for a key that occurs twice."""
    import yaml  # imported late: a start without a file does not need the parser

    lines: dict[KeyPath, int] = {}
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return YamlDocument(None, lines)
        _note_lines(node, (), lines, source, set())
        return YamlDocument(loader.construct_document(node), lines)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} is not valid YAML: {error}", "Correct it or remove it.") from error
    except RecursionError as error:
        raise ConfigError(f"{source} is nested too deeply", "Correct it or remove it.") from error


def _note_lines(node: "Node", path: KeyPath, lines: dict[KeyPath, int], source: str, seen: set[int]) -> None:
    """Add the lines of all keys in `node`. A mapping that an alias repeats counts where it stands first."""
    from yaml import MappingNode, SequenceNode

    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            _note_lines(item, (*path, str(index)), lines, source, seen)
    if isinstance(node, MappingNode):
        for key, value in node.value:
            at, line = (*path, str(key.value)), key.start_mark.line + 1
            if at in lines and key.value != MERGE:
                raise _set_twice(source, at, lines[at], line)
            lines[at] = line
            _note_lines(value, at, lines, source, seen)


def _set_twice(source: str, path: KeyPath, first: int, second: int) -> ConfigError:
    lines = f"on line {first} and again on line {second}" if first != second else f"twice on line {first}"
    return ConfigError(f"{source}: {': '.join(path)} is set {lines}", "Remove one of them: only one could count.")
