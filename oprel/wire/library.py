"""Wire types of oprel's own API about models and their files. Sizes in bytes, times in RFC 3339."""

from typing import Literal

from oprel.api_models import RequestBody, Wire

NOT_CHECKED = "not checked"  # how the step of what cannot be seen begins
ModelStatus = Literal["installed", "loaded", "damaged", "away", "available"]


class LibraryModel(Wire):
    """A model in `GET /api/models/library`: installed, or with the status "available" one that can be pulled.

    "away": its files are on a disk that is not there.

    `provider`: the program that stores it. `source`: where it came from. `repositories`: those of an alias, by size.
    """

    name: str
    provider: str
    status: ModelStatus
    capabilities: list[str] = []
    source: str = ""
    path: str | None = None
    size: int = 0
    digest: str | None = None
    family: str | None = None
    parameter_size: str | None = None
    quantization_level: str | None = None
    modified_at: str | None = None
    last_used_at: str | None = None
    aliases: list[str] = []
    repositories: dict[str, str] = {}
    license: str | None = None
    about: str | None = None
    notes: list[str] = []


class LibraryResponse(Wire):
    models: list[LibraryModel]


class RemovedResponse(Wire):
    """`busy`: some files are still in use by an engine, and are removed when it stops.

    `kept_for`: a manifest that cannot be read. It may use files that nothing else uses, so these are kept. `model`: the
    name of the one model that was removed; where a repository was named, it says which of its quantizations that is.
    """

    freed_bytes: int
    busy: bool = False
    kept_for: str | None = None
    model: str | None = None


class CachedFile(Wire):
    """`models`: those that use the file, or will once downloaded. A `partial` file has `size` of its `total` bytes."""

    path: str
    size: int
    digest: str | None
    provider: str
    models: list[str]
    last_used_at: str | None
    partial: bool
    total: int | None = None


class CacheResponse(Wire):
    """Largest first. `duplicates`: groups of paths of identical files, each stored separately."""

    files: list[CachedFile]
    duplicates: list[list[str]]


class CacheRequest(RequestBody):
    """`all`: include the models that use the files."""

    all: bool = False


ImportHow = Literal["link", "copy", "in_place"]


class ImportRequest(RequestBody):
    """`path`: a file, or a folder with one model."""

    model: str = ""
    path: str = ""
    how: ImportHow = "link"
    stream: bool = True
