"""Model names on disk: one small JSON manifest each under OPREL_HOME/models, beside the models that come bundled.

Owner of that folder. A manifest names the weights where they lie (nothing is copied) and what a Modelfile adds to them.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import quote

from oprel.core.exceptions import InvalidModelError, ModelNotFoundError, ValidationError
from oprel.core.names import Kind, ModelRef
from oprel.utils.files import write_atomically

BUNDLED = Path(__file__).parent.parent / "bundled"

Parameter = str | int | float | bool | list[str]


@dataclass(frozen=True)
class Manifest:
    """What a name stands for. `weights` is an absolute path to a GGUF; `parameters` are Ollama's option names."""

    name: str
    weights: Path
    system: str = ""
    parameters: dict[str, Parameter] = field(default_factory=dict)
    messages: tuple[tuple[str, str], ...] = ()
    license: str = ""


class Manifests:
    """The names of one OPREL_HOME."""

    def __init__(self, folder: Path, bundled: Path = BUNDLED) -> None:
        self._folder = folder
        self._bundled = bundled

    def get(self, ref: ModelRef) -> Manifest:
        """Raises ModelNotFoundError, or InvalidModelError for a manifest that cannot be read."""
        if ref.kind is Kind.PATH:
            return Manifest(ref.text, ref.path)
        file = self._file(ref)
        if _is_file(file):
            return _read(file)
        for manifest in self._all_bundled():
            if ModelRef.parse(manifest.name).key == ref.key:
                return manifest
        raise ModelNotFoundError(f"model '{ref.text}' not found", "`oprel list` shows the names there are.")

    def put(self, manifest: Manifest) -> None:
        """Create or replace a name, atomically. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        content = asdict(manifest) | {"weights": str(manifest.weights)}
        write_atomically(self._file(ModelRef.parse(manifest.name)), json.dumps(content, indent=2).encode())

    def __iter__(self) -> Iterator[Manifest]:
        """Every readable name; a damaged manifest hides only itself."""
        own = {}
        for file in sorted(self._folder.glob("*.json")):
            try:
                manifest = _read(file)
            except InvalidModelError:
                continue
            own[ModelRef.parse(manifest.name).key] = manifest
        bundled = {ModelRef.parse(manifest.name).key: manifest for manifest in self._all_bundled()}
        yield from (bundled | own).values()

    def _file(self, ref: ModelRef) -> Path:
        return self._folder / f"{quote(ref.key, safe='')}.json"

    def _all_bundled(self) -> Iterator[Manifest]:
        for weights in sorted(self._bundled.glob("*.gguf")):
            yield Manifest(f"{weights.stem}:latest", weights)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than a file's may be
        return False


def _read(file: Path) -> Manifest:
    try:
        content = json.loads(file.read_bytes())
        return Manifest(
            name=ModelRef.parse(content["name"]).text,
            weights=Path(content["weights"]),
            system=str(content.get("system", "")),
            parameters=dict(content.get("parameters", {})),
            messages=tuple((str(role), str(text)) for role, text in content.get("messages", ())),
            license=str(content.get("license", "")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, ValidationError) as error:
        raise InvalidModelError(
            f"the manifest {file} cannot be read: {error}", f"Delete {file} and add the model again."
        ) from error
