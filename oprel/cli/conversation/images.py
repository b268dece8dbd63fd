"""Finds the images that a prompt names by their paths."""

import base64
import re
from pathlib import Path
from typing import TYPE_CHECKING

from oprel.cli.screen import render
from oprel.core.exceptions import ValidationError

if TYPE_CHECKING:
    from oprel.cli.options import AnyClient

_SUFFIX = r"\.(?:jpe?g|png|webp)"
# Quoted, or a word with backslash-escaped blanks, as terminals write a file dropped on them.
_PATH = re.compile(
    rf"""'([^'\n]+{_SUFFIX})'|"([^"\n]+{_SUFFIX})"|((?:\\.|[^\s'"\\])+{_SUFFIX})(?![\w/])""", re.IGNORECASE
)


def find_images(prompt: str) -> tuple[str, tuple[Path, ...]]:
    """The prompt without the paths of existing images, and those paths.

    >>> find_images("What is in /nowhere/cat.png?")
    ('What is in /nowhere/cat.png?', ())
    """
    images: list[Path] = []

    def remove(match: re.Match[str]) -> str:
        path = Path(match[1] or match[2] or re.sub(r"\\(.)", r"\1", match[3])).expanduser()
        if not path.is_file():
            return match[0]
        images.append(path)
        return ""

    rest = _PATH.sub(remove, prompt)
    return (rest.strip(), tuple(images)) if images else (prompt, ())


def images_for(client: "AnyClient", model: str, prompt: str) -> tuple[str, tuple[Path, ...]]:
    """The text to send to `model`, and the images, if the model supports any."""
    text, paths = find_images(prompt)
    if not paths:
        return prompt, ()
    if "vision" not in client.show(model).capabilities:
        render.note(f"{model} does not support images: {', '.join(map(str, paths))} is sent as text.")
        return prompt, ()
    for path in paths:
        render.note(f"Added image {path}.")
    return text, paths


def encode(path: Path) -> str:
    """The file in base64. Raises ValidationError if it cannot be read."""
    try:
        return base64.b64encode(path.read_bytes()).decode()
    except OSError as error:
        raise ValidationError(f"cannot read {path}: {error.strerror}", "Check its permissions.") from error
