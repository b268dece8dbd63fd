"""What comes in place of a model's file, known by its first bytes: a web page, a pointer, an archive. Pure."""

from dataclasses import dataclass

START_BYTES = 64  # that tell it


@dataclass(frozen=True)
class Mistaken:
    """`what` ends a sentence about the file, `step` is a whole one for the user."""

    what: str
    step: str


_PAGE = Mistaken("is a web page", "The download brought a page, perhaps one to log in: get the file itself.")
_KINDS = {
    b"version https://git-lfs": Mistaken("is a Git LFS pointer in place of the file", "`git lfs pull` gets the file."),
    b"<!doctype": _PAGE,
    b"<html": _PAGE,
    b"\x1f\x8b": Mistaken("is compressed (gzip)", "Unpack it first."),
    b"7z\xbc\xaf": Mistaken("is compressed (7z)", "Unpack it first."),
    b"rar!": Mistaken("is compressed (RAR)", "Unpack it first."),
    b"(\xb5/\xfd": Mistaken("is compressed (zstd)", "Unpack it first."),
}
"""By the first bytes, in lower case."""


def mistaken(start: bytes) -> Mistaken | None:
    """What a file that begins so is; None where it may be a model's.

    >>> mistaken(b"<!DOCTYPE html>").what
    'is a web page'
    """
    return next((kind for magic, kind in _KINDS.items() if start.lower().startswith(magic)), None)
