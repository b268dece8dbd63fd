"""Hugging Face's hub, accessed through its own library: repository contents, search, login.

The only module that imports `huggingface_hub`, and only inside functions, since the import takes about 0.3 s. The
library reads the token from HF_TOKEN or from where `oprel hf login` and `hf auth login` store it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread
import httpx

from oprel.core.exceptions import UnsupportedError, ValidationError
from oprel.core.models.manifests import Manifest
from oprel.core.names import DEFAULT_TAG, HubOrigin, ModelRef, hub_name
from oprel.core.variants import RepoFile, Variant, folder_files, other_variants, projector_of, variants
from oprel.downloader.cache import HubCache
from oprel.downloader.network.hub_access import hub_errors, use_our_client
from oprel.downloader.network.hub_files import commit_of, described
from oprel.downloader.network.retries import patiently, unreachable
from oprel.downloader.offers import Choose, Offer, Repository, Target, tag_of, usual, wanted
from oprel.downloader.remote_header import Starts, read_header, write_skeleton
from oprel.downloader.source import LARGEST_FILE, RemoteFile, checked_name, is_allowed
from oprel.downloader.transfer.digest import check_git_hash
from oprel.formats.hugging_face.conversion.bert import ARCHITECTURE
from oprel.utils.files import write_atomically

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo, RepoSibling

REVISION = "main"
WEIGHTS = (".gguf", ".safetensors")
ANSWER_SECONDS = 30.0
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class HubModel:
    """A repository in search results. `gated`: its owner grants access on conditions."""

    repository: str
    downloads: int
    likes: int
    modified: str
    gated: bool
    tags: tuple[str, ...]


@dataclass(frozen=True)
class _Listing:
    """A repository at one commit, with its files by path. `unproven`: files without a hash of their content."""

    repository: str
    commit: str
    files: dict[str, RemoteFile]
    model_type: str = ""
    unproven: frozenset[str] = frozenset()

    @property
    def converts(self) -> bool:
        """Whether it is of a kind that oprel converts to GGUF."""
        return self.model_type == ARCHITECTURE

    def called(self, requested: str) -> str:
        """The repository as it was requested, in the hub's spelling: one that was renamed is found by its old name."""
        return self.repository if self.repository.casefold() == requested.casefold() else requested

    @property
    def repo_files(self) -> list[RepoFile]:
        return [RepoFile(file.name, file.size_bytes, file.sha256) for file in self.files.values()]

    @property
    def folder(self) -> tuple[RepoFile, ...]:
        """The files that engines need of a model in Hugging Face's format; empty if the repository has GGUF files."""
        return () if variants(self.repo_files) else folder_files(self.repo_files)


class Hub:
    """The hub at `endpoint`; downloads go into `cache`."""

    def __init__(
        self,
        endpoint: str,
        cache: HubCache,
        *,
        seconds: float = ANSWER_SECONDS,
        serves_folders: Callable[[], bool] = lambda: False,
    ) -> None:
        """`serves_folders`: whether an engine for safetensors repositories is installed."""
        self._endpoint = endpoint.rstrip("/")
        self._cache = cache
        self._seconds = seconds
        self._serves_folders = serves_folders

    async def offer(self, origin: HubOrigin, choose: Choose = usual) -> Offer:
        """The model that `origin` names. Raises ModelNotFoundError, UnsupportedError, DownloadError."""
        listing = await self._answer(partial(self._listing, origin.repository))
        if listing.folder and not origin.names_one:
            return await anyio.to_thread.run_sync(self._folder_offer, listing, listing.folder, origin.repository)
        return await anyio.to_thread.run_sync(self._model_offer, listing, origin, choose)

    def _model_offer(self, listing: _Listing, origin: HubOrigin, choose: Choose) -> Offer:
        """The offer of a GGUF, with its parts and its projector. Blocks to read headers."""
        starts = self._starts(listing)
        repository = _repository(listing, starts)
        variant = wanted(repository, origin, choose)
        projector = starts.projector_for(variant, listing.repo_files)
        names = [file.path for file in (*variant.files, *([projector] if projector else []))]
        return Offer(
            f"{listing.repository} {variant.label}",
            tuple(self._target(listing, name) for name in names),
            lambda name: self._manifest(name, listing, variant, projector),
            *_names(listing, origin.repository, tag_of(variant, repository)),
            links=self._links(listing, names),
        )

    def _folder_offer(self, listing: _Listing, files: Sequence[RepoFile], repository: str) -> Offer:
        """The offer of a model in Hugging Face's format, with all files that an engine needs."""
        if not (listing.converts or self._serves_folders()):
            raise UnsupportedError(
                f"{listing.repository} has only safetensors, no GGUF files, and no engine for them is installed",
                f"Look for a converted version: `oprel search {listing.repository.split('/')[-1]}`.",
                "Or install an engine such as vLLM: `oprel engines` shows how.",
            )
        return Offer(
            f"{listing.repository} safetensors",
            tuple(self._target(listing, file.path) for file in files),
            lambda name: self._folder_manifest(name, listing, files),
            *_names(listing, repository, DEFAULT_TAG),
            links=self._links(listing, [file.path for file in files]),
        )

    def _links(self, listing: _Listing, names: Sequence[str]) -> tuple[Path, ...]:
        snapshot = self._cache.snapshot(listing.repository, listing.commit)
        return tuple(snapshot / name for name in names)

    def _folder_manifest(self, name: str, listing: _Listing, files: Sequence[RepoFile]) -> Manifest:
        parts = tuple(self._linked(listing, file.path) for file in files)
        self._cache.set_ref(listing.repository, REVISION, listing.commit)
        folder = self._cache.snapshot(listing.repository, listing.commit)
        return Manifest(name=name, weights=folder, parts=parts, source=f"hf.co/{listing.repository}")

    def _target(self, listing: _Listing, name: str) -> Target:
        file = listing.files[name]
        return Target(file, self._content(listing, file))

    async def repository(self, origin: HubOrigin) -> Repository | None:
        """The variants of a repository; None for a model in Hugging Face's format. Raises the same as `offer`."""
        listing = await self._answer(partial(self._listing, origin.repository))
        if listing.folder:
            return None
        repository = _repository(listing, self._starts(listing))
        if origin.file:
            variant = await anyio.to_thread.run_sync(wanted, repository, origin, usual)
            repository = replace(repository, variants=(variant,))
        return repository

    async def skeleton(self, origin: HubOrigin, folder: Path) -> Path:
        """Write a skeleton of the model (see `write_skeleton`) into ORG/REPO of `folder`, and return its path.

        Uses the default variant if `origin` does not name one. Raises the same as `offer`, and OSError.
        """
        listing = await self._answer(partial(self._listing, origin.repository))
        files = listing.folder
        if not files:
            files = (
                await anyio.to_thread.run_sync(wanted, _repository(listing, self._starts(listing)), origin, usual)
            ).files
        place = folder / listing.repository
        await anyio.to_thread.run_sync(write_skeleton, [listing.files[file.path] for file in files], place)
        return place if listing.folder else place / files[0].path

    async def search(self, words: str, limit: int) -> list[HubModel]:
        """Repositories with GGUF files, most downloaded first. Raises DownloadError."""
        return await self._answer(partial(self._search, words, limit))

    def whoami(self) -> str:
        """The user of the stored token. Raises ValidationError without a token, DownloadError."""
        if not self._api.token:
            raise ValidationError("not logged in to Hugging Face", "Log in with `oprel hf login`.")
        with hub_errors(self._endpoint):
            return str(self._api.whoami()["name"])

    def login(self, token: str) -> str:
        """Verify a token, store it where Hugging Face's own programs do, and return its user's name."""
        from huggingface_hub import HfApi, constants

        use_our_client()
        with hub_errors(self._endpoint):
            user = str(HfApi(endpoint=self._endpoint, token=token).whoami()["name"])
        path = Path(constants.HF_TOKEN_PATH)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, token.encode())
        return user

    def logout(self) -> None:
        """Delete all stored tokens. Raises OSError."""
        from huggingface_hub import logout

        logout()

    def login_for(self, url: str) -> dict[str, str]:
        """The header with the stored token if the URL is one of this hub. Blocks to import the hub's library."""
        token = self._api.token if self._has(url) else None
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _has(self, url: str) -> bool:
        return url.startswith(f"{self._endpoint}/")

    @property
    def _api(self) -> "HfApi":
        from huggingface_hub import HfApi, get_token

        use_our_client()
        return HfApi(endpoint=self._endpoint, token=get_token() or False)

    async def _answer(self, ask: Callable[[], Result]) -> Result:
        return await patiently(partial(self._within_time, ask))

    async def _within_time(self, ask: Callable[[], Result]) -> Result:
        try:
            with anyio.fail_after(self._seconds):
                return await anyio.to_thread.run_sync(ask, abandon_on_cancel=True)
        except TimeoutError:
            message = f"{self._endpoint} did not answer within {self._seconds:.0f} s"
            raise unreachable(message, httpx.ReadTimeout(message), "Try again later.") from None

    def _search(self, words: str, limit: int) -> list[HubModel]:
        with hub_errors(self._endpoint):
            infos = self._api.list_models(search=words or None, filter="gguf", sort="downloads", limit=limit)
            return [_hub_model(info) for info in infos]

    def _listing(self, repository: str) -> _Listing:
        with hub_errors(self._endpoint, repository):
            info = self._api.model_info(repository, revision=REVISION, files_metadata=True, timeout=self._seconds)
        headers = self.login_for(f"{self._endpoint}/")
        files = [self._file(info.id, info.sha or REVISION, entry, headers) for entry in _allowed(info.siblings or ())]
        bare = _bare(files)
        present = described(bare, self._endpoint, info.id, self._seconds) if bare else []
        by_name = {file.name: file for file in (*(file for file in files if file not in bare), *present)}
        unproven = frozenset(file.name for file in present if not file.sha256)
        kind = (info.config or {}).get("model_type")
        commit = info.sha or commit_of(list(by_name.values()))  # some mirrors have none
        return _Listing(info.id, commit, by_name, kind if isinstance(kind, str) else "", unproven)

    def _file(self, repository: str, revision: str, entry: "RepoSibling", headers: dict[str, str]) -> RemoteFile:
        from huggingface_hub import hf_hub_url

        name = checked_name(entry.rfilename)
        url = hf_hub_url(repository, name, revision=revision, endpoint=self._endpoint)
        sha256 = entry.lfs.sha256 if entry.lfs else ""
        return RemoteFile(
            name=name,
            url=url,
            size_bytes=entry.size or 0,
            sha256=sha256,
            etag=sha256 or entry.blob_id or "",
            headers=headers,
        )

    def _manifest(self, name: str, listing: _Listing, variant: Variant, projector: RepoFile | None) -> Manifest:
        paths = [self._linked(listing, file.path) for file in variant.files]
        projector_path = self._linked(listing, projector.path) if projector else None
        self._cache.set_ref(listing.repository, REVISION, listing.commit)
        parts = tuple(paths) if len(paths) > 1 else ()
        return Manifest(
            name=name, weights=paths[0], projector=projector_path, parts=parts, source=f"hf.co/{listing.repository}"
        )

    def _linked(self, listing: _Listing, name: str) -> Path:
        file = listing.files[name]
        if not file.sha256 and name not in listing.unproven:
            check_git_hash(self._content(listing, file), file)
        return self._cache.link(listing.repository, listing.commit, name, file.etag)

    def _starts(self, listing: _Listing) -> Starts:
        return Starts(listing.files, partial(self._content, listing))

    def _content(self, listing: _Listing, file: RemoteFile) -> Path:
        return self._cache.content(listing.repository, listing.commit, file.name, file.etag, file.size_bytes)


def _allowed(entries: "Sequence[RepoSibling]") -> "Sequence[RepoSibling]":
    """The entries that may be files here, by name and size. Raises ValidationError if no weights are left."""
    allowed = [entry for entry in entries if is_allowed(entry.rfilename) and 0 <= (entry.size or 0) <= LARGEST_FILE]
    if not any(entry.rfilename.lower().endswith(WEIGHTS) for entry in allowed):
        for entry in entries:
            checked_name(entry.rfilename)
    return allowed


def _bare(files: Sequence[RemoteFile]) -> list[RemoteFile]:
    """Files of models that the listing has only the names of, as with some mirrors."""
    bare = [file for file in files if not file.etag]
    in_folder = {file.path for file in folder_files(RepoFile(file.name, 0, "") for file in bare)}
    return [file for file in bare if file.name.lower().endswith(WEIGHTS) or file.name in in_folder]


def _name(repository: str, tag: str) -> str:
    """The model's name; "" if a file name in it is not allowed in model names."""
    try:
        return ModelRef.parse(hub_name(repository, tag)).text
    except ValidationError:
        return ""


def _names(listing: _Listing, requested: str, tag: str) -> tuple[str, tuple[str, ...]]:
    """The model's name and its others: a renamed repository keeps the one that it was requested by."""
    present = _name(listing.repository, tag)
    name = _name(listing.called(requested), tag)
    return name, (present,) if present != name else ()


def _repository(listing: _Listing, starts: Starts) -> Repository:
    files = listing.repo_files
    models, others = variants(files), other_variants(files)
    if not (models or others):
        raise UnsupportedError(
            f"{listing.repository} has no GGUF files",
            f"Look for a converted version: `oprel search {listing.repository.split('/')[-1]}`.",
        )
    projectors = (projector_of(files, variant) for variant in models)
    return Repository(
        listing.repository,
        models,
        lambda variant: read_header(listing.files[variant.files[0].path]),
        max((projector.size_bytes for projector in projectors if projector), default=0),
        others,
        starts.role,
    )


def _hub_model(info: "ModelInfo") -> HubModel:
    modified: Any = info.last_modified
    return HubModel(
        repository=info.id,
        downloads=info.downloads or 0,
        likes=info.likes or 0,
        modified=modified.isoformat() if modified else "",
        gated=bool(info.gated),
        tags=tuple(info.tags or ()),
    )
