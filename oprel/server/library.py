"""The models that can be asked for: names resolved to files whose headers were read. Knows no engine."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import anyio.to_thread

from oprel.core.config import Config
from oprel.core.exceptions import InvalidModelError, ModelNotFoundError, OprelError, ValidationError
from oprel.core.manifests import Manifest, Manifests
from oprel.core.names import Kind, ModelRef
from oprel.formats.gguf import GGUFFile, looks_like_gguf, read_gguf

MAX_HEADERS = 64  # kept, of some 100 KB each; the oldest goes first


@dataclass(frozen=True)
class InstalledModel:
    """A model of this machine. `name` is the canonical name, `modified` the time of its file."""

    name: str
    manifest: Manifest
    header: GGUFFile
    modified: datetime

    @property
    def weights(self) -> Path:
        return self.manifest.weights

    @property
    def digest(self) -> str:
        """64 hex digits that change with the manifest or the file. Not of the content: that may be 100 GB to read."""
        identity = asdict(self.manifest) | {"size": self.header.size_bytes, "modified": self.modified.isoformat()}
        return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()

    @property
    def embeds_only(self) -> bool:
        return self.header.pooling_type is not None

    @property
    def capabilities(self) -> list[str]:
        if self.embeds_only:
            return ["embedding"]
        template = self.header.chat_template or ""
        wanted = {"tools": "tools" in template, "thinking": "<think>" in template or "enable_thinking" in template}
        return ["completion", *(name for name, there in wanted.items() if there)]


class Library:
    """Finds models by name. Headers are read once a file and again when it changes."""

    def __init__(self, config: Config) -> None:
        self._manifests = Manifests(config.models_dir)
        self._headers: dict[Path, tuple[tuple[int, int], GGUFFile]] = {}

    async def find(self, name: str, *, may_use_paths: bool) -> InstalledModel:
        """The model called `name`.

        Paths are for the machine's own user (`may_use_paths`). What is no model is "not found" whatever it is, so that
        the answer tells nothing about other files. Raises ModelNotFoundError, InvalidModelError.
        """
        unknown = ModelNotFoundError(
            f"model '{name}' not found",
            "`oprel list` shows the names there are; a path must name a readable GGUF file.",
        )
        try:
            ref = ModelRef.parse(name)
        except ValidationError:
            raise unknown from None
        if ref.kind is Kind.PATH and not (may_use_paths and looks_like_gguf(ref.path)):
            raise unknown
        try:
            manifest = self._manifests.get(ref)
        except ModelNotFoundError:
            raise unknown from None
        return await anyio.to_thread.run_sync(self._installed, manifest)

    async def all(self) -> list[InstalledModel]:
        """Every named model whose file can be used, newest first."""
        return await anyio.to_thread.run_sync(
            lambda: sorted(self._usable(), key=lambda model: model.modified, reverse=True)
        )

    def _usable(self) -> Iterator[InstalledModel]:
        for manifest in self._manifests:
            try:
                yield self._installed(manifest)
            except OprelError:
                continue

    def _installed(self, manifest: Manifest) -> InstalledModel:
        try:
            status = manifest.weights.stat()
        except OSError as error:
            raise InvalidModelError(
                f"the file of model '{manifest.name}' cannot be read: {error.strerror}",
                f"Is {manifest.weights} still there?",
            ) from error
        version = (status.st_mtime_ns, status.st_size)
        known = self._headers.get(manifest.weights)
        if known is None or known[0] != version:
            known = self._headers[manifest.weights] = version, read_gguf(manifest.weights)
            while len(self._headers) > MAX_HEADERS:
                self._headers.pop(next(iter(self._headers)), None)
        return InstalledModel(manifest.name, manifest, known[1], datetime.fromtimestamp(status.st_mtime).astimezone())
