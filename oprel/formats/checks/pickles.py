"""Scans pickles, such as PyTorch files, for the code they would run, from their opcodes and without running them.

A pickle is a program for a small stack machine. Its GLOBAL and STACK_GLOBAL opcodes import what it calls; the names
are in the program or on its stack. A name built at run time cannot be determined, so it counts as dangerous.

Sources: Lib/pickletools.py of CPython; the layout of PyTorch files in torch/serialization.py; the names that its
`weights_only` unpickler allows in torch/_weights_only_unpickler.py.
"""

import io
import pickletools
import re
import zipfile
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import BinaryIO

from oprel.formats.byte_reader import DAMAGED
from oprel.formats.untrusted_json import invalid, shown, unreadable

MAX_PICKLE_BYTES = 64 * 1024**2  # a few MB in the largest models, since the weights are stored separately
MAX_PICKLES = 16  # per archive: PyTorch writes one, TorchScript two
MAX_OPCODES = 1_000_000
MAX_NAMES = 1000  # distinct ones; a model has about ten
OLD_PICKLES = 5  # in a file older than PyTorch 1.6: magic number, protocol, machine, model, keys
ZIP_START = b"PK\x03\x04"
PROGRAM = re.compile(r"(^|/)code/.+\.py$")  # of TorchScript


BROKEN = (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError, ValueError)


class Danger(Enum):
    """How dangerous it is to call a name."""

    HARMLESS = "harmless"
    UNKNOWN = "unknown"
    DANGEROUS = "dangerous"


UNREADABLE = "a name that is built at run time"
# Modules that run programs, code or commands, or access files or the network.
DANGEROUS = frozenset(
    "os posix nt subprocess sys builtins __builtin__ runpy importlib pty socket ssl shutil ctypes _ctypes code codeop "
    "pickle _pickle cloudpickle dill joblib marshal shelve types functools operator _operator inspect gc signal "
    "threading _thread webbrowser asyncio multiprocessing concurrent commands http urllib requests httpx aiohttp "
    "ftplib smtplib telnetlib pip setuptools distutils ensurepip venv pdb bdb trace timeit profile cProfile pydoc "
    "doctest tempfile pathlib io _io glob logging platform site zipimport imp pkgutil linecache atexit sqlite3 "
    "torch.hub torch.jit torch.package torch.utils.cpp_extension torch.distributed.rpc torch.fx torch._inductor "
    "torch._dynamo torch.load torch.serialization.load numpy.load numpy.f2py numpy.testing numpy.distutils".split()
)
HARMLESS = re.compile(
    r"collections\.(OrderedDict|defaultdict|Counter)"
    r"|(builtins|__builtin__)\.(set|frozenset|dict|list|tuple|int|float|bool|str|bytes|bytearray|complex|slice|range)"
    r"|_codecs\.encode|copyreg\._reconstructor|copy_reg\._reconstructor|argparse\.Namespace"
    r"|torch\.(\w+Storage|Size|device|dtype|Tensor|Generator|layout|strided|sparse_coo|contiguous_format)"
    r"|torch\.(b?float|u?int|q?u?int|complex|long|short|half|double|bool)\w*"
    r"|torch\._utils\._rebuild_\w+|torch\.storage\.\w*Storage|torch\._tensor\._rebuild_from_type_v2"
    r"|torch\.nn\.parameter\.(Parameter|Buffer)|torch\.serialization\._get_layout"
    r"|numpy(\._?core)?\.multiarray\.(_reconstruct|scalar)|numpy\.(dtype|ndarray|bool_|u?int\d+|float\d+)"
    r"|numpy\._?core\.multiarray\.(_reconstruct|scalar)|numpy\.dtypes\.\w+DType"
)


def danger_of(name: str) -> Danger:
    """The danger of calling the object with that full name.

    >>> danger_of("posix.system"), danger_of("torch._utils._rebuild_tensor_v2"), danger_of("my_model.Net")
    (<Danger.DANGEROUS: 'dangerous'>, <Danger.HARMLESS: 'harmless'>, <Danger.UNKNOWN: 'unknown'>)
    """
    if HARMLESS.fullmatch(name):
        return Danger.HARMLESS
    parts = name.split(".")
    prefixes = {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
    return Danger.DANGEROUS if name == UNREADABLE or prefixes & DANGEROUS else Danger.UNKNOWN


@dataclass(frozen=True)
class Scan:
    """`names` are what the pickles of a file would import, as "module.name"; `is_program` marks a TorchScript archive.

    `broken` describes where a pickle becomes invalid; everything before that would still run.
    """

    names: tuple[str, ...] = ()
    is_program: bool = False
    broken: str = ""

    def of(self, danger: Danger) -> list[str]:
        return [name for name in self.names if danger_of(name) is danger]


def scan(path: Path) -> Scan:
    """What loading a PyTorch file would run. Raises InvalidModelError for another or a truncated file."""
    try:
        with path.open("rb") as file:
            start = file.read(len(ZIP_START))
            file.seek(0)
            return _archive(path, file) if start == ZIP_START else _old(file)
    except OSError as problem:
        raise unreadable(path, problem) from problem


def _archive(path: Path, file: BinaryIO) -> Scan:
    reading = _Reading()
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            pickles = [name for name in names if name.endswith(".pkl")]
            for name in pickles[:MAX_PICKLES]:
                with archive.open(name) as inner:
                    reading.read(io.BytesIO(inner.read(MAX_PICKLE_BYTES)))
    except (
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ) as problem:
        raise invalid(path, f"its ZIP archive is damaged: {problem}", 0, DAMAGED) from problem
    if not 0 < len(pickles) <= MAX_PICKLES:
        raise invalid(path, f"it is a ZIP archive with {len(pickles)} pickles", 0, "Is it a PyTorch file?")
    return reading.scan(is_program=any(map(PROGRAM.search, names)))


def _old(file: BinaryIO) -> Scan:
    """An old file: several pickles, then the bytes of the weights."""
    content, reading = io.BytesIO(file.read(MAX_PICKLE_BYTES)), _Reading()
    for _ in range(OLD_PICKLES):
        if not reading.read(content):
            break
    return reading.scan()


@dataclass
class _Reading:
    """The names so far, and what is wrong with the last pickle."""

    names: dict[str, None] = field(default_factory=dict)
    broken: str = ""

    def read(self, content: io.BytesIO) -> bool:
        """Scan one pickle; False if there is no complete one."""
        at = content.tell()
        if not content.read(1):
            return False
        content.seek(at)
        try:
            for name in _imports(content):
                self.names[name] = None
                if len(self.names) > MAX_NAMES:
                    raise ValueError(f"more than {MAX_NAMES} names")
        except (ValueError, UnicodeDecodeError, IndexError, OverflowError) as problem:
            self.broken = f"a pickle is truncated or damaged: {shown(str(problem))}"
            return False
        return True

    def scan(self, *, is_program: bool = False) -> Scan:
        return Scan(tuple(self.names), is_program, self.broken)


def _imports(content: io.BytesIO) -> Iterator[str]:
    """The full name of each object that a pickle imports. Raises ValueError for an invalid pickle."""
    top, memo = deque[str | None](maxlen=2), dict[int, str | None]()  # of the stack: strings, None for all else
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        if count == MAX_OPCODES:
            raise ValueError(f"more than {MAX_OPCODES} opcodes")
        match opcode.name:
            case "GLOBAL" | "INST":
                yield str(argument).replace(" ", ".", 1)
                top.append(None)
            case "STACK_GLOBAL":
                yield _named(tuple(top))
                top.append(None)
            case "EXT1" | "EXT2" | "EXT4":
                yield UNREADABLE
                top.append(None)
            case "MEMOIZE":
                memo[len(memo)] = top[-1] if top else None
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[int(argument or 0)] = top[-1] if top else None
            case "GET" | "BINGET" | "LONG_BINGET":
                top.append(memo.get(int(argument or 0)))
            case "PROTO" | "FRAME" | "STOP":
                pass
            case _:  # An opcode that pops counts as a non-string, so a string below it is never mistaken for the top.
                top.append(argument if isinstance(argument, str) else None)


def _named(top: Sequence[str | None]) -> str:
    match top:
        case [str(module), str(name)]:
            return f"{module}.{name}"
        case _:
            return UNREADABLE
