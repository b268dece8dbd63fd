"""Wire types of oprel's own API about the models that are here and the files behind them. Sizes in bytes.

Times are in RFC 3339.
"""

from typing import Literal

from oprel.api_models import RequestBody, Wire

ModelStatus = Literal["installed", "loaded", "damaged", "available"]


class LibraryModel(Wire):
    """A model in `GET /api/models/library`: one that is here, or with the status "available" one that can be pulled.

    `provider` is who keeps it, `source` where it comes from; `repositories` are those of an alias, by size.
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
    """`busy`: an engine still uses files that go when it does."""

    freed_bytes: int
    busy: bool = False


class CachedFile(Wire):
    """`models` use the file, or will when they are here. Of a `partial` one `size` bytes are here, of `total`."""

    path: str
    size: int
    digest: str | None
    provider: str
    models: list[str]
    last_used_at: str | None
    partial: bool
    total: int | None = None


class CacheResponse(Wire):
    """Largest first. `duplicates` are paths of equal files, which take room more than once."""

    files: list[CachedFile]
    duplicates: list[list[str]]


class CacheRequest(RequestBody):
    """`all`: the models too that are made of the files."""

    all: bool = False


ImportHow = Literal["link", "copy", "in_place"]


class ImportRequest(RequestBody):
    """`how` is "link", "copy" or "in_place"; `path` is a file, or a folder with one model."""

    model: str = ""
    path: str = ""
    how: ImportHow = "link"
    stream: bool = True
