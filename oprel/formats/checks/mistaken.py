"""Files that are mistaken for models, recognized by their first bytes: web pages, LFS pointers, archives. Pure."""

from dataclasses import dataclass

START_BYTES = 64  # enough to recognize them


@dataclass(frozen=True)
class Mistaken:
    """`what` completes a sentence whose subject is the file. `step` is a full sentence of advice."""

    what: str
    step: str
    code: str = "other-file"


_PAGE = Mistaken("is a web page", "The download returned a page, perhaps a login page: download the file itself.")
OLD = "old-format"
# The magic numbers of llama.cpp before GGUF (August 2023): ggml, ggmf, ggjt, and ggla of adapters.
_GGML = Mistaken(
    "is in the old GGML format",
    "Convert it to GGUF with convert_llama_ggml_to_gguf.py of llama.cpp, or get a GGUF.",
    OLD,
)
_KINDS = {
    b"version https://git-lfs": Mistaken("is a Git LFS pointer instead of the file", "Run `git lfs pull`."),
    b"<!doctype": _PAGE,
    b"<html": _PAGE,
    **dict.fromkeys((b"lmgg", b"fmgg", b"tjgg"), _GGML),
    b"algg": Mistaken(
        "is a LoRA adapter in the old GGML format", "Convert it again with convert_lora_to_gguf.py.", OLD
    ),
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
