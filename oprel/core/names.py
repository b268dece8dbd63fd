"""Model names: the only place where they are parsed.

    ./tiny.gguf  ~/m.gguf  /models/m.gguf  folder/m.gguf   -> PATH
    tiny  tiny:latest  user/tiny:q4  host:5000/user/tiny:q4 -> NAME  ([host/][namespace/]model[:tag])

A name stands for a manifest in OPREL_HOME/models, or for a model bundled with the package. Grammar of names as in
Ollama's: parts start with a letter, digit or underscore, then also `-` and `.`; 80 bytes at most; the host 350.
"""

import os
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from oprel.core.exceptions import ValidationError

DEFAULT_TAG = "latest"
# The model that comes with the package, in oprel/bundled: what commands use when none is named.
GUIDE = "guide"
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"
_NAME = re.compile(
    rf"(?:(?P<host>[A-Za-z0-9_][A-Za-z0-9_.:-]{{0,349}})/)?(?:(?P<namespace>{_PART})/)?(?P<model>{_PART})(?::(?P<tag>{_PART}))?"
)


class Kind(Enum):
    PATH = "path"
    NAME = "name"


@dataclass(frozen=True)
class ModelRef:
    """A parsed model name. `text` is canonical: an absolute path, or a name with its tag."""

    kind: Kind
    text: str

    @property
    def path(self) -> Path:
        return Path(self.text)

    @property
    def key(self) -> str:
        """The form under which equal names are equal: names ignore case, paths do not."""
        return self.text if self.kind is Kind.PATH else self.text.casefold()

    @classmethod
    def parse(cls, text: str) -> "ModelRef":
        """Raises ValidationError when `text` can be no model's name."""
        if is_path(text):
            return cls(Kind.PATH, absolute(text))
        match = _NAME.fullmatch(text)
        if match is None:
            raise ValidationError(
                f"{text!r} is not a valid model name",
                "A name looks like model, model:tag or user/model:tag; a file's name ends in .gguf or starts with ./",
            )
        return cls(Kind.NAME, text if match["tag"] else f"{text}:{DEFAULT_TAG}")


def is_path(text: str) -> bool:
    return text.startswith((".", "~", "/", "\\")) or text.lower().endswith(".gguf") or _is_windows_path(text)


def absolute(text: str) -> str:
    """A path as another process can find it; a name unchanged."""
    return os.path.abspath(os.path.expanduser(text)) if is_path(text) else text


def _is_windows_path(text: str) -> bool:
    return re.match(r"[A-Za-z]:[\\/]", text) is not None
