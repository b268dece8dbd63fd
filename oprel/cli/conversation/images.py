"""Images that a prompt names by their paths."""

import base64
import re
from pathlib import Path

from oprel.cli.screen import render
from oprel.client_api import Client
from oprel.core.exceptions import ValidationError

_SUFFIX = r"\.(?:jpe?g|png|webp)"
# In quotes, or a word in which backslashes keep blanks, as terminals write a file that is dropped on them.
_PATH = re.compile(
    rf"""'([^'\n]+{_SUFFIX})'|"([^"\n]+{_SUFFIX})"|((?:\\.|[^\s'"\\])+{_SUFFIX})(?![\w/])""", re.IGNORECASE
)


def find_images(prompt: str) -> tuple[str, tuple[Path, ...]]:
    """The prompt without the paths of images, and those that exist.

    >>> find_images("What is in /nowhere/cat.png?")
    ('What is in /nowhere/cat.png?', ())
    """
    found: list[Path] = []

    def take(match: re.Match[str]) -> str:
        path = Path(match[1] or match[2] or re.sub(r"\\(.)", r"\1", match[3])).expanduser()
        if not path.is_file():
            return match[0]
        found.append(path)
        return ""

    rest = _PATH.sub(take, prompt)
    return (rest.strip(), tuple(found)) if found else (prompt, ())


def images_for(client: Client, model: str, prompt: str) -> tuple[str, tuple[Path, ...]]:
    """What of the prompt to send to `model` as text, and what as images, if it can see."""
    text, paths = find_images(prompt)
    if not paths:
        return prompt, ()
    if "vision" not in client.show(model).capabilities:
        render.note(f"{model} cannot see: {', '.join(map(str, paths))} is sent as text.")
        return prompt, ()
    for path in paths:
        render.note(f"Added image {path}.")
    return text, paths


def encode(path: Path) -> str:
    """The file in base64. Raises ValidationError when it cannot be read."""
    try:
        return base64.b64encode(path.read_bytes()).decode()
    except OSError as error:
        raise ValidationError(f"{path} cannot be read: {error.strerror}", "Check its permissions.") from error
