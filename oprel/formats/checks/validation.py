"""Everything that is the matter with a model, found without an engine. Only headers are read, nothing is unpickled."""

import errno
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from oprel.core.exceptions import InvalidModelError
from oprel.formats.byte_reader import DAMAGED
from oprel.formats.checks.findings import Finding, Severity, error, note, refusal, warning
from oprel.formats.checks.folder_checks import check_folder, check_tensors
from oprel.formats.checks.gguf_checks import check_gguf
from oprel.formats.checks.pickles import Danger, Scan, scan
from oprel.formats.detect import BESIDE, SUFFIXES, detect, is_pytorch_start, parts, sniff
from oprel.formats.gguf import read_gguf
from oprel.formats.mistaken import START_BYTES, mistaken
from oprel.formats.model_info import Format, ModelInfo
from oprel.formats.safetensors import SafetensorsFile, read_safetensors
from oprel.formats.untrusted_json import shown

NEVER = "Do not load it: get the model as safetensors, from somebody you trust."
UNFINISHED = (".part", ".incomplete", ".crdownload", ".download", ".aria2", ".tmp")
PICKLES = (*SUFFIXES["pytorch"], ".pkl", ".pickle", ".ckpt")
NAMED = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)


@dataclass(frozen=True)
class Inspection:
    """What is at `path`: no `info` where that is no model. `findings` are the worst first."""

    path: Path
    info: ModelInfo | None
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> list[Finding]:
        return [one for one in self.findings if one.severity is Severity.ERROR]

    def moved(self, folder: Path, to: Path) -> "Inspection":
        """The same of a model that was looked at in `folder`, but belongs elsewhere."""

        def elsewhere(path: Path) -> Path:
            return to / path.relative_to(folder)

        told = (
            replace(one, path=elsewhere(one.path), what=one.what.replace(str(folder), str(to))) for one in self.findings
        )
        return replace(self, path=elsewhere(self.path), findings=tuple(told))


def inspect(path: Path) -> Inspection:
    """Look at a file or folder. Blocks for the reading of some megabytes; never raises."""
    if gone := _absent(path):
        return Inspection(path, None, (gone,))
    info, refused = None, None
    try:
        info = detect(path)
    except InvalidModelError as problem:
        refused = refusal(path, problem)
    try:
        found = list(_looked_at(path, info))
    except OSError as problem:
        found = [error(path, f"it cannot be read: {problem.strerror}", "Check its permissions.")]
    blamed = [one.path for one in found if one.severity is Severity.ERROR]
    if refused and not any(refused.what.startswith(f"{one} ") for one in blamed):  # else what was found says more
        found.append(refused)
    order = list(Severity)
    return Inspection(path, info, tuple(sorted(dict.fromkeys(found), key=lambda one: order.index(one.severity))))


def require_sound(path: Path) -> None:
    """Raises InvalidModelError with the first error of `inspect`."""
    if wrong := inspect(path).errors:
        raise InvalidModelError(f"{wrong[0].path}: {wrong[0].what}", wrong[0].step, "`oprel inspect` shows everything.")


def _absent(path: Path) -> Finding | None:
    """Why nothing can be read there; None where something may."""
    try:
        status = path.stat()
    except OSError as problem:
        if problem.errno == errno.ELOOP:
            return error(path, "it is a link that leads back to itself", "Make the link again, to the file.")
        if path.is_symlink():
            return error(path, f"it is a link to {shown(str(path.readlink()))}, which is gone", "Get the file again.")
        what = "it does not exist" if problem.errno == errno.ENOENT else f"it cannot be read: {problem.strerror}"
        return error(path, what, "Is the path right?")
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return error(path, "it is no file", "Give the path of a model's file or folder.")
    return None


def _looked_at(path: Path, info: ModelInfo | None) -> Iterator[Finding]:
    if info and info.format not in SUFFIXES:  # what there is to say, the reader of that format has said
        return
    folder, files = (path, _weights_in(path)) if path.is_dir() else (path.parent, _with_parts(path))
    tensors, kinds = list[SafetensorsFile](), set[Format]()
    for file in files:
        if wrong := _absent(file) or _mistaken(file):
            yield wrong
            continue
        kind = sniff(file)
        kinds |= {kind} if kind else set()
        yield from _lessened(_of_file(file, kind, tensors), info, kind)
    if path.is_dir() and (folder / "adapter_config.json").is_file() and info is None:
        yield error(folder, "it is an adapter (LoRA), no model of its own", "Load it with the model it was made for.")
    elif (info.format if info else next(iter(kinds), None)) in ("safetensors", "pytorch"):
        yield from check_folder(folder, info)
    if tensors and (info is None or info.format == "safetensors"):
        yield from check_tensors(folder, tensors, info)


def _weights_in(folder: Path) -> list[Path]:
    """Its files that are, or are called, weights; broken links to such, too."""
    named = (one for one in sorted(folder.iterdir()) if one.suffix in (*NAMED, *PICKLES, *UNFINISHED))
    files = [one for one in named if not one.is_dir()]
    if any(one.suffix in NAMED and not BESIDE.search(one.name) for one in files):
        return files
    return [*files, *(one for one in sorted(folder.iterdir()) if one.is_file() and one not in files and sniff(one))]


def _with_parts(path: Path) -> list[Path]:
    with suppress(InvalidModelError):
        return list(parts(path))
    return [path]


def _mistaken(path: Path) -> Finding | None:
    """A file that is none of a model, by its first bytes or its name."""
    if path.suffix in UNFINISHED:
        return warning(path, "its download was not finished", "Finish it, or delete what is there.")
    with path.open("rb") as file:
        start = file.read(START_BYTES)
    if not start:
        return error(path, "it is empty", DAMAGED)
    known = mistaken(start)
    return error(path, f"it {known.what}", known.step) if known else None


def _of_file(path: Path, kind: Format | None, tensors: list[SafetensorsFile]) -> Iterator[Finding]:
    """What is wrong with one file of weights; the headers of safetensors are kept in `tensors`."""
    if kind and path.suffix not in SUFFIXES[kind]:
        usual = SUFFIXES[kind][0]
        yield warning(path, f"it is {kind}, but its name does not end in {usual}", f"Rename it: {usual} is looked for.")
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
            yield error(path, "it is neither a ZIP archive nor a pickle, as PyTorch's files are", DAMAGED)
            return
    yield from _told(path, scan(path))


def _told(path: Path, found: Scan) -> Iterator[Finding]:
    if bad := found.of(Danger.DANGEROUS):
        yield error(path, f"loading it runs {', '.join(map(shown, bad[:5]))}", NEVER)
    if unknown := found.of(Danger.UNKNOWN):
        names = ", ".join(map(shown, unknown[:5]))
        yield warning(path, f"loading it calls {names}, of which nothing is known", "Prefer safetensors.")
    if found.broken:
        yield warning(path, found.broken, DAMAGED)
    if found.is_program:
        yield warning(path, "it is a TorchScript program, which runs when it is loaded", "Prefer safetensors.")
    if not (bad or unknown or found.is_program):
        yield note(path, "it is a pickle, which engines must run to load it; nothing suspicious is in it")


def _lessened(findings: Iterator[Finding], info: ModelInfo | None, kind: Format | None) -> Iterator[Finding]:
    """A fault of a file that engines leave alone, as the pickles beside safetensors, is no error of the model."""
    beside = info is not None and kind != info.format
    for one in findings:
        yield replace(one, severity=Severity.WARNING) if beside and one.severity is Severity.ERROR else one
