"""Files that are mistaken for models, recognized by their first bytes: web pages, LFS pointers, archives. Pure."""

from dataclasses import dataclass

START_BYTES = 64  # enough to recognize them


@dataclass(frozen=True)
class Mistaken:
    """`what` completes a sentence whose subject is the file. `step` is a full sentence of advice."""

    what: str
    step: str


_PAGE = Mistaken("is a web page", "The download returned a page, perhaps a login page: download the file itself.")
_KINDS = {
    b"version https://git-lfs": Mistaken("is a Git LFS pointer instead of the file", "Run `git lfs pull`."),
    b"<!doctype": _PAGE,
    b"<html": _PAGE,
    b"\x1f\x8b": Mistaken("is compressed (gzip)", "Unpack it first."),
    b"7z\xbc\xaf": Mistaken("is compressed (7z)", "Unpack it first."),
    b"rar!": Mistaken("is compressed (RAR)", "Unpack it first."),
    b"(\xb5/\xfd": Mistaken("is compressed (zstd)", "Unpack it first."),
}
"""Keys: the first bytes, in lower case."""


def mistaken(start: bytes) -> Mistaken | None:
    """What a file with these first bytes is; None if it may be a model.

    >>> mistaken(b"<!DOCTYPE html>").what
    'is a web page'
    """
    return next((kind for magic, kind in _KINDS.items() if start.lower().startswith(magic)), None)
