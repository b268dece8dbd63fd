"""Model names on disk: one small JSON manifest each under OPREL_HOME/models, beside the models that come bundled.

Owner of those manifests. One names the weights where they lie (nothing is copied) and what a Modelfile adds to them.
Paths within OPREL_HOME/models and within the package are kept relative to it, so that both may be moved.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from oprel.core.exceptions import InvalidModelError, ModelNotFoundError, OprelError, UnsupportedError, ValidationError
from oprel.core.modelfile import Modelfile, Parameter
from oprel.core.names import HUB_HOST, HubOrigin, ModelRef, NameKind, hub_origin, is_hub_name
from oprel.core.variants import Variant, named
from oprel.utils.files import write_atomically

Provider = Literal["oprel", "bundled", "ollama", "huggingface", "lmstudio", "llama.cpp"]

BUNDLED = Path(__file__).parent.parent / "bundled"
BUNDLED_PREFIX = "bundled:"
LONGEST_FILE_NAME = 200  # bytes, which leaves room for what `write_atomically` adds
SHORTENED = 100  # of a longer one so many bytes are kept, before its hash


@dataclass(frozen=True)
class Manifest:
    """What a name stands for. Paths are absolute; `parameters` have Ollama's option names.

    `weights` is a GGUF, the first one of a split model, whose blobs are then `parts`; or a folder as Hugging Face has
    them, of the files in `parts`. `projector` (an mmproj) lets the model see, `adapters` are LoRAs, `template` is as
    the user wrote it: Jinja or Ollama's Go. `parent` is the name of the model that this one was made from, `source`
    where its files were fetched from, such as "hf.co/ORG/REPO". `provider` is whose model it is: one that another
    program keeps is only read. `written` is the time of the manifest's file, in seconds since 1970; 0 for what has no
    file. `chosen` is when a pull that named no quantization took this one, in the same seconds; 0 if none did.
    """

    name: str
    weights: Path
    system: str = ""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    messages: tuple[tuple[str, str], ...] = ()
    license: str = ""
    template: str = ""
    adapters: tuple[Path, ...] = ()
    projector: Path | None = None
    parts: tuple[Path, ...] = ()
    parent: str = ""
    source: str = ""
    provider: Provider = "oprel"
    chosen: float = 0.0
    written: float = field(default=0.0, compare=False)

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that an engine reads; of a split model the parts, without the name that the first one goes by."""
        return (*(self.parts or (self.weights,)), *self.beside)

    @property
    def beside(self) -> tuple[Path, ...]:
        """Those of them that are not weights."""
        return (*self.adapters, *([self.projector] if self.projector else []))

    @property
    def places(self) -> tuple[Path, ...]:
        """Its files, and the folder of links to them, if they have one."""
        return (*self.files, self.weights, self.weights.parent)

    def modelfile(self) -> Modelfile:
        """What makes an equal model."""
        return Modelfile(
            from_=str(self.weights),
            also_from=(str(self.projector),) if self.projector else (),
            adapters=tuple(str(path) for path in self.adapters),
            template=self.template or None,
            system=self.system or None,
            parameters=self.parameters,
            messages=self.messages,
            licenses=(self.license,) if self.license else (),
        )


class Manifests:
    """The names of one OPREL_HOME."""

    def __init__(self, folder: Path, bundled: Path = BUNDLED) -> None:
        self._folder = folder
        self._bundled = bundled

    def get(self, ref: ModelRef) -> Manifest:
        """Raises ModelNotFoundError, or InvalidModelError for a manifest that cannot be read."""
        if ref.kind is NameKind.PATH:
            return Manifest(ref.text, ref.path)
        found = self._exact(ref) or meant(ref, self._like(ref))
        if found is None:
            raise _unknown(ref)
        return found

    def put(self, manifest: Manifest, instead_of: ModelRef | None = None) -> Manifest:
        """Create or replace a name, atomically, and return it as it is spelled: as one that is there already is.

        `instead_of` is a name that goes, if it is another. Raises OprelError when it cannot be written.
        """
        ref = ModelRef.parse(manifest.name)
        before = self._before(ref) or replace(manifest, name=ref.text)
        manifest = replace(manifest, name=before.name, provider="oprel", chosen=manifest.chosen or before.chosen)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self._file(ref), json.dumps(self._content(manifest), indent=2).encode())
        except OSError as error:
            raise OprelError(
                f"the model {ref.text} cannot be written down: {error.strerror}",
                f"Is there room in {self._folder}, and may oprel write there?",
            ) from error
        if instead_of and instead_of.key != ref.key:
            self._file(instead_of).unlink(missing_ok=True)
        return manifest

    def delete(self, ref: ModelRef) -> None:
        """Forget a name; its files stay. Raises ModelNotFoundError, UnsupportedError for a bundled model, OSError."""
        file = self._file(ref)
        if _is_file(file):
            file.unlink(missing_ok=True)
        elif other := meant(ref, self._like(ref)):
            self._file(ModelRef.parse(other.name)).unlink(missing_ok=True)
        elif self._bundled_one(ref):
            raise UnsupportedError(
                f"{ref.text} comes with oprel and cannot be deleted",
                "It takes no room beside the program. A model of your own may have its name: `oprel create`.",
            )
        else:
            raise _unknown(ref)

    def mentions(self, pattern: str) -> set[str]:
        """Whatever matches `pattern` in the text of any manifest, be it damaged or of a later oprel."""
        found: set[str] = set()
        for file in self._folder.glob("*.json"):
            found.update(re.findall(pattern, file.read_text(errors="replace")))
        return found

    def __iter__(self) -> Iterator[Manifest]:
        """Every readable name; a damaged manifest hides only itself."""
        own = {ModelRef.parse(manifest.name).key: manifest for manifest in self._readable("*.json")}
        bundled = {ModelRef.parse(manifest.name).key: manifest for manifest in self._all_bundled()}
        yield from (bundled | own).values()

    def _readable(self, pattern: str) -> Iterator[Manifest]:
        for file in sorted(self._folder.glob(pattern)):
            try:
                yield self._read(file)
            except InvalidModelError:
                continue

    def _like(self, ref: ModelRef) -> Iterator[Manifest]:
        """The models of the repository that the name may be of, and perhaps others."""
        if origin := hub_origin(ref):
            beginning = quote(f"{HUB_HOST}/{origin.repository}:".casefold(), safe="")
            yield from self._readable(f"{beginning[:SHORTENED]}*.json")

    def _file(self, ref: ModelRef) -> Path:
        name = quote(ref.key, safe="")
        if len(name) > LONGEST_FILE_NAME:  # a URL may be longer than a file's name
            name = f"{name[:SHORTENED]}~{hashlib.sha256(ref.key.encode()).hexdigest()}"
        return self._folder / f"{name}.json"

    def _exact(self, ref: ModelRef) -> Manifest | None:
        """What is called so and in no other way. Raises InvalidModelError."""
        file = self._file(ref)
        return self._read(file) if _is_file(file) else self._bundled_one(ref)

    def _before(self, ref: ModelRef) -> Manifest | None:
        """What has the name now, if that can be read."""
        try:
            return self._exact(ref)
        except InvalidModelError:
            return None

    def _bundled_one(self, ref: ModelRef) -> Manifest | None:
        return next((one for one in self._all_bundled() if ModelRef.parse(one.name).key == ref.key), None)

    def _all_bundled(self) -> Iterator[Manifest]:
        for weights in sorted(self._bundled.glob("*.gguf")):
            yield Manifest(f"{weights.stem}:latest", weights, provider="bundled")

    def _content(self, manifest: Manifest) -> dict[str, object]:
        content = asdict(manifest) | {
            "weights": self._relative(manifest.weights),
            "adapters": [self._relative(path) for path in manifest.adapters],
            "projector": self._relative(manifest.projector) if manifest.projector else None,
            "parts": [self._relative(path) for path in manifest.parts],
        }
        del content["written"], content["provider"]
        return content

    def _read(self, file: Path) -> Manifest:
        try:
            content = json.loads(file.read_bytes())
            projector = content.get("projector")
            return Manifest(
                name=ModelRef.parse(content["name"]).text,
                weights=self._absolute(content["weights"]),
                system=str(content.get("system", "")),
                parameters=dict(content.get("parameters", {})),
                messages=tuple((str(role), str(text)) for role, text in content.get("messages", ())),
                license=str(content.get("license", "")),
                template=str(content.get("template", "")),
                adapters=tuple(self._absolute(path) for path in content.get("adapters", ())),
                projector=self._absolute(projector) if projector else None,
                parts=tuple(self._absolute(path) for path in content.get("parts", ())),
                parent=str(content.get("parent", "")),
                source=str(content.get("source", "")),
                chosen=float(content.get("chosen", 0)),
                written=file.stat().st_mtime,
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, ValidationError) as error:
            raise InvalidModelError(
                f"the manifest {file} cannot be read: {error}", f"Delete {file} and add the model again."
            ) from error

    def _relative(self, path: Path) -> str:
        for prefix, folder in ((BUNDLED_PREFIX, self._bundled), ("", self._folder)):
            if path.is_relative_to(folder):
                return f"{prefix}{path.relative_to(folder)}"
        return str(path)

    def _absolute(self, text: str) -> Path:
        if text.startswith(BUNDLED_PREFIX):
            return self._bundled / text.removeprefix(BUNDLED_PREFIX)
        return self._folder / text  # which an absolute path replaces


def meant(ref: ModelRef, known: Iterable[Manifest]) -> Manifest | None:
    """Which of a repository's models is meant by a name that none has: ORG/REPO:Q8_0, a file's, or one without a quant.

    The last means the one that a pull of that name took, else the only one there is.
    """
    asked = hub_origin(ref)
    own = [(one, origin) for one in known if asked and (origin := _same_repository(one, asked))]
    if asked is None or not own:
        return None
    if asked.file:
        return next((one for one, _ in own if one.weights.as_posix().endswith(f"/{asked.file}")), None)
    if asked.quant:
        found = named([Variant(origin.quant, ()) for _, origin in own], asked.quant)
        return next((one for one, origin in own if found and origin.quant == found.label), None)
    last = max((one for one, _ in own), key=lambda one: one.chosen)
    return last if last.chosen or len(own) == 1 else None


def _same_repository(manifest: Manifest, asked: HubOrigin) -> HubOrigin | None:
    """What of the repository that is asked for the manifest is."""
    if not is_hub_name(manifest.name):
        return None
    origin = hub_origin(ModelRef.parse(manifest.name))
    return origin if origin and origin.repository.casefold() == asked.repository.casefold() else None


def _unknown(ref: ModelRef) -> ModelNotFoundError:
    return ModelNotFoundError(f"model '{ref.text}' not found", "`oprel list` shows the names there are.")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than a file's may be
        return False
