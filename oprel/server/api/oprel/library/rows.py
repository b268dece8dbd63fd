"""The rows of the library: what is known of each model."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from oprel.core.exceptions import ModelAwayError, OprelError
from oprel.core.models.manifests import Manifest
from oprel.downloader.aliases import Alias
from oprel.server.api.common.encode import details
from oprel.server.downloads.records import DownloadState
from oprel.server.downloads.task import Download
from oprel.server.models.last_use import LastUse
from oprel.server.models.summaries import ModelSummary
from oprel.server.storage.cache import digest_in_name
from oprel.wire.library import LibraryMetadata, LibraryModel, ModelStatus

_PAGES = {"hf.co/": "https://huggingface.co/", "registry.ollama.ai/": "https://ollama.com/"}


@dataclass(frozen=True)
class Surroundings:
    """What rows need besides the models. `loaded` has the engine of each loaded file, `engines` that of a format.

    `shows_paths`: the caller may see where files are.
    """

    loaded: Mapping[Path, str]
    engines: Mapping[str, str]
    last_use: LastUse
    shows_paths: bool

    def row(self, model: ModelSummary) -> LibraryModel:
        engine, used = self.loaded.get(model.weights, ""), self.last_use.of(model.weights)
        served_by = engine or self.engines.get(model.header_summary.format)
        return installed_row(model, "loaded" if engine else "installed", used, served_by, shows_path=self.shows_paths)

    def is_plain(self, model: ModelSummary) -> bool:
        """Whether nothing but the model itself decides its row."""
        return model.weights not in self.loaded and self.last_use.of(model.weights) is None


def installed_row(
    model: ModelSummary, status: ModelStatus, used: float | None, served_by: str | None, *, shows_path: bool
) -> LibraryModel:
    about, header, manifest = details(model), model.header_summary, model.manifest
    path, last_used = str(model.weights) if shows_path else None, moment(used)
    return LibraryModel(
        id=model.name,
        name=model.name,
        provider=manifest.provider,
        source=manifest.provider,
        origin=model.source,
        aliases=list(manifest.also),
        served_by=served_by,
        status=status,
        capabilities=list(model.capabilities),
        path=path,
        local_path=path,
        size=model.size_bytes,
        disk_usage=model.size_bytes,
        digest=model.digest,
        checksum=digest_in_name(model.weights.resolve()) or None,
        family=about.family,
        parameter_size=about.parameter_size,
        quantization_level=about.quantization_level,
        metadata=LibraryMetadata(
            parameters=header.parameters,
            quantization=header.quantization,
            context_length=header.context_length,
            license=header.license or None,
            tags=list(header.tags),
            architecture=header.architecture,
            family=about.family,
            training_data=list(header.datasets),
        ),
        modified_at=model.changed.isoformat(),
        download_date=moment(manifest.written or None) if manifest.source else None,
        download_url=page_of(manifest.source),
        last_used_at=last_used,
        last_used=last_used,
        notes=list(model.notes),
    )


def damaged_row(manifest: Manifest, error: OprelError, *, shows_path: bool) -> LibraryModel:
    path = str(manifest.weights) if shows_path else None
    return LibraryModel(
        id=manifest.name,
        name=manifest.name,
        provider=manifest.provider,
        source=manifest.provider,
        origin=manifest.source or manifest.provider,
        status="away" if isinstance(error, ModelAwayError) else "damaged",
        path=path,
        local_path=path,
        download_url=page_of(manifest.source),
        notes=[error.message] if shows_path else [],
    )


def available_row(alias: Alias) -> LibraryModel:
    return LibraryModel(
        id=alias.name,
        name=alias.name,
        provider="huggingface",
        source="huggingface",
        status="available",
        capabilities=list(alias.capabilities),
        aliases=list(alias.also),
        repositories=dict(alias.repositories),
        license=alias.license,
        about=alias.about,
        description=alias.about,
        metadata=LibraryMetadata(license=alias.license or None),
        download_url=f"https://huggingface.co/{alias.repositories[alias.default]}",
    )


def downloading_rows(downloads: Iterator[Download]) -> Iterator[LibraryModel]:
    """Those which run, or wait to be resumed."""
    for download in downloads:
        if download.state in (DownloadState.RUNNING, DownloadState.PAUSED):
            yield _downloading_row(download)


def _downloading_row(download: Download) -> LibraryModel:
    return LibraryModel(
        id=download.ref.text,
        name=download.ref.text,
        provider="oprel",
        source="oprel",
        origin=download.title,
        status="downloading",
        size=download.total,
        disk_usage=download.completed,
        download_progress=download.progress,
        download_url=page_of(download.ref.text),
    )


def page_of(origin: str) -> str | None:
    """The page of where a model came from; None where there is none.

    >>> page_of("hf.co/org/repo:Q4_0"), page_of("guide")
    ('https://huggingface.co/org/repo', None)
    """
    for host, page in _PAGES.items():
        if origin.startswith(host):
            return page + origin.removeprefix(host).partition(":")[0].partition(" ")[0]
    return origin if origin.startswith(("http://", "https://")) else None


def moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
