"""Wire types of oprel's own API about models and their files. Sizes in bytes, times in RFC 3339."""

from typing import Literal

from oprel.api_models import RequestBody, Wire

NOT_CHECKED = "not checked"  # how the step of what cannot be seen begins
ModelStatus = Literal["installed", "loaded", "damaged", "away", "downloading", "available"]


class LibraryMetadata(Wire):
    """What the model's own file says of it. `parameters`: how many; `context_length`: in tokens.

    `memory_requirement`: of an engine with a context of 4,096 tokens, or the trained one if that is shorter, without a
    GPU. It is given for one model, not in lists. `training_data`: the data sets that the file names.
    """

    parameters: int | None = None
    quantization: str | None = None
    memory_requirement: int | None = None
    context_length: int | None = None
    license: str | None = None
    tags: list[str] = []
    architecture: str | None = None
    family: str | None = None
    training_data: list[str] = []


class LibraryModel(Wire):
    """A model in `GET /api/models/library`: installed, or with the status "available" one that can be pulled.

    "away": its files are on a disk that is not there. "downloading": its download runs or is paused.

    `source`: the program that stores it; `provider` is its older name. `origin`: where it came from. `served_by`: the
    engine that has it loaded, or would. `repositories`: those of an alias, by size.
    `download_progress`: from 0 to 1. `path` and `local_path` are for this machine's own user only. `disk_usage`: bytes
    on disk now. `checksum`: the SHA-256 of its file, where the file's name tells it; `digest` is that of the model with
    its settings. `about` and `last_used_at` are older names of `description` and `last_used`.
    """

    id: str
    name: str
    provider: str
    source: str
    status: ModelStatus
    capabilities: list[str] = []
    origin: str = ""
    served_by: str | None = None
    description: str | None = None
    metadata: LibraryMetadata = LibraryMetadata()
    download_progress: float | None = None
    download_date: str | None = None
    download_url: str | None = None
    path: str | None = None
    local_path: str | None = None
    size: int = 0
    disk_usage: int = 0
    checksum: str | None = None
    last_used: str | None = None
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
    """`total_count`: the models that the request selects, on all pages.

    `local_count` and `available_count`: those that are installed and that can be pulled, whatever status is wanted.
    """

    models: list[LibraryModel]
    total_count: int
    local_count: int
    available_count: int


class RemovedResponse(Wire):
    """`busy`: some files are still in use by an engine, and are removed when it stops.

    `kept_for`: a manifest that cannot be read. It may use files that nothing else uses, so these are kept. `model`: the
    name of the one model that was removed; where a repository was named, it says which of its quantizations that is.
    `note`: what there is to say of files that stay because other programs have them too.
    """

    freed_bytes: int
    busy: bool = False
    kept_for: str | None = None
    model: str | None = None
    note: str | None = None


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
