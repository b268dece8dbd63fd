"""Inspects a model without an engine and reports its problems. Reads headers only and never unpickles anything."""

import errno
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from oprel.core.exceptions import InvalidModelError
from oprel.core.models.blobs import BLOB_NAME
from oprel.formats.byte_reader import DAMAGED
from oprel.formats.checks.findings import Finding, Severity, error, note, refusal, warning
from oprel.formats.checks.folder_checks import check_folder, check_tensors
from oprel.formats.checks.gguf_checks import check_gguf
from oprel.formats.checks.mistaken import START_BYTES, mistaken
from oprel.formats.checks.pickles import Danger, Scan, scan
from oprel.formats.detect import BESIDE, SUFFIXES, detect, is_pytorch_start, parts, sniff
from oprel.formats.gguf import read_gguf
from oprel.formats.hugging_face.safetensors import SafetensorsFile, read_safetensors
from oprel.formats.model_info import Format, ModelInfo
from oprel.formats.untrusted_json import shown

NEVER = "Do not load it: get the model as safetensors from a source you trust."
UNFINISHED = (".part", ".incomplete", ".crdownload", ".download", ".aria2", ".tmp")
PICKLES = (*SUFFIXES["pytorch"], ".pkl", ".pickle", ".ckpt")
NAMED = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)


@dataclass(frozen=True)
class Inspection:
    """What is at `path`. `info` is None if that is not a model. The worst `findings` come first."""

    path: Path
    info: ModelInfo | None
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity is Severity.ERROR]

    def moved(self, folder: Path, to: Path) -> "Inspection":
        """The same inspection, with paths below `folder` moved to `to`."""

        def moved(path: Path) -> Path:
            return to / path.relative_to(folder)

        findings = (
            replace(finding, path=moved(finding.path), what=finding.what.replace(str(folder), str(to)))
            for finding in self.findings
        )
        return replace(self, path=moved(self.path), findings=tuple(findings))


def inspect(path: Path) -> Inspection:
    """Inspect a file or folder. Blocks to read a few megabytes; never raises."""
    if gone := _absent(path):
        return Inspection(path, None, (gone,))
    info, refused = None, None
    try:
        info = detect(path)
    except InvalidModelError as problem:
        refused = refusal(path, problem)
    try:
        findings = list(_check(path, info))
    except OSError as problem:
        findings = [error("unreadable", path, f"it cannot be read: {problem.strerror}", "Check its permissions.")]
    blamed = [finding.path for finding in findings if finding.severity is Severity.ERROR]
    if refused and not any(refused.what.startswith(f"{file} ") for file in blamed):  # else a finding is more precise
        findings.append(refused)
    order = list(Severity)
    worst_first = sorted(dict.fromkeys(findings), key=lambda finding: order.index(finding.severity))
    return Inspection(path, info, tuple(worst_first))


def require_sound(path: Path) -> None:
    """Raises InvalidModelError with the first error of `inspect`."""
    if wrong := inspect(path).errors:
        raise InvalidModelError(f"{wrong[0].path}: {wrong[0].what}", wrong[0].step, "`oprel inspect` shows everything.")


def _absent(path: Path) -> Finding | None:
    """Why nothing can be read there; None if it may be readable."""
    try:
        status = path.stat()
    except OSError as problem:
        if problem.errno == errno.ELOOP:
            return error(
                "broken-link", path, "it is a link to itself", "Recreate the link so that it points to the file."
            )
        if path.is_symlink():
            return error(
                "broken-link",
                path,
                f"it links to {shown(str(path.readlink()))}, which is missing",
                "Get the file again.",
            )
        what = "it does not exist" if problem.errno == errno.ENOENT else f"it cannot be read: {problem.strerror}"
        return error("missing", path, what, "Is the path right?")
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return error("not-a-file", path, "it is not a file", "Give the path of a model file or folder.")
    return None


def _check(path: Path, info: ModelInfo | None) -> Iterator[Finding]:
    if info and info.format not in SUFFIXES:  # the reader of that format has already checked it
        return
    folder, files = (path, _weights_in(path)) if path.is_dir() else (path.parent, _with_parts(path))
    tensors, kinds = list[SafetensorsFile](), set[Format]()
    for file in files:
        if wrong := _absent(file) or _mistaken(file):
            yield wrong
            continue
        kind = sniff(file)
        kinds |= {kind} if kind else set()
        yield from _downgraded(_of_file(file, kind, tensors), info, kind)
    if path.is_dir() and (folder / "adapter_config.json").is_file() and info is None:
        yield error(
            "adapter", folder, "it is an adapter (LoRA), not a model", "Load it with the model it was made for."
        )
    elif (info.format if info else next(iter(kinds), None)) in ("safetensors", "pytorch"):
        yield from check_folder(folder, info)
    if tensors and (info is None or info.format == "safetensors"):
        yield from check_tensors(folder, tensors, info)


def _weights_in(folder: Path) -> list[Path]:
    """The files that hold weights or are named like it, including broken links."""
    named = (path for path in sorted(folder.iterdir()) if path.suffix in (*NAMED, *PICKLES, *UNFINISHED))
    files = [path for path in named if not path.is_dir()]
    if any(file.suffix in NAMED and not BESIDE.search(file.name) for file in files):
        return files
    others = (path for path in sorted(folder.iterdir()) if path.is_file() and path not in files)
    return [*files, *(path for path in others if sniff(path))]


def _with_parts(path: Path) -> list[Path]:
    with suppress(InvalidModelError):
        return list(parts(path))
    return [path]


def _mistaken(path: Path) -> Finding | None:
    """The finding for a file that is not a model's, by its name or first bytes."""
    if path.suffix in UNFINISHED:
        return warning(
            "unfinished-download", path, "its download is incomplete", "Finish the download or delete the file."
        )
    with path.open("rb") as file:
        start = file.read(START_BYTES)
    if not start:
        return error("empty", path, "it is empty", DAMAGED)
    mistake = mistaken(start)
    return error(mistake.code, path, f"it {mistake.what}", mistake.step) if mistake else None


def _of_file(path: Path, kind: Format | None, tensors: list[SafetensorsFile]) -> Iterator[Finding]:
    """Check one file of weights; safetensors headers are added to `tensors`."""
    if kind and path.suffix not in SUFFIXES[kind] and not re.fullmatch(BLOB_NAME, path.name):
        usual = SUFFIXES[kind][0]
        yield warning(
            "wrong-suffix", path, f"it is {kind}, but its name does not end in {usual}", f"Rename it to end in {usual}."
        )
    try:
        if kind == "gguf":
            yield from check_gguf(read_gguf(path))
        elif kind == "safetensors" or path.suffix == ".safetensors":
            tensors.append(read_safetensors(path))
        elif path.suffix == ".gguf":
            read_gguf(path)
        elif path.suffix in PICKLES:
            yield from _of_pickle(path)
    except InvalidModelError as problem:
        yield refusal(path, problem)


def _of_pickle(path: Path) -> Iterator[Finding]:
    with path.open("rb") as file:
        if not is_pytorch_start(file.read(4)):
            yield error("not-pytorch", path, "it is not a PyTorch file: neither a ZIP archive nor a pickle", DAMAGED)
            return
    yield from _of_scan(path, scan(path))


def _of_scan(path: Path, scanned: Scan) -> Iterator[Finding]:
    if bad := scanned.of(Danger.DANGEROUS):
        yield error("dangerous-pickle", path, f"loading it runs {', '.join(map(shown, bad[:5]))}", NEVER)
    if unknown := scanned.of(Danger.UNKNOWN):
        names = ", ".join(map(shown, unknown[:5]))
        yield warning("unknown-calls", path, f"loading it calls {names}, which may do anything", "Prefer safetensors.")
    if scanned.broken:
        yield warning("broken-pickle", path, scanned.broken, DAMAGED)
    if scanned.is_program:
        yield warning("program", path, "it is a TorchScript program, which runs when loaded", "Prefer safetensors.")
    if not (bad or unknown or scanned.is_program):
        yield note("pickle", path, "it is a pickle, which engines execute to load it; it contains nothing suspicious")


def _downgraded(findings: Iterator[Finding], info: ModelInfo | None, kind: Format | None) -> Iterator[Finding]:
    """Downgrade errors of files that engines ignore, such as pickles beside safetensors, to warnings."""
    beside = info is not None and kind != info.format
    for finding in findings:
        downgrade = beside and finding.severity is Severity.ERROR
        yield replace(finding, severity=Severity.WARNING) if downgrade else finding
