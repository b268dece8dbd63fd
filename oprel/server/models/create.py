"""Creates models from other models or uploaded files, for `POST /api/create`."""

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import anyio.to_thread

from oprel.api_models import ProgressResponse
from oprel.core.config import Config
from oprel.core.exceptions import InvalidModelError, UnsupportedError, ValidationError
from oprel.core.models.blobs import BLOB_NAME, Blobs, with_colon
from oprel.core.models.manifests import Manifest
from oprel.core.models.modelfile import Parameter
from oprel.core.names import ModelRef, is_path
from oprel.formats.gguf import GGUFFile, looks_like_gguf, read_gguf
from oprel.formats.templates import go_template
from oprel.server.models import quantize
from oprel.server.models.conversions import convert
from oprel.server.models.library import Library

Progress = AsyncGenerator[ProgressResponse, None]
Files = Mapping[str, str]

LONGEST_TEMPLATE = 256 * 1024  # characters; real ones have up to 30,000


@dataclass(frozen=True, kw_only=True)
class ModelRecipe:
    """How to create a model. None or empty fields are inherited from the source model.

    `source` is a name, or a path if `may_use_paths`. `files` and `adapters` map file names to blob digests. `notes` are
    progress lines about ignored parts of the request.
    """

    name: ModelRef
    source: str = ""
    may_use_paths: bool = False
    files: Files = field(default_factory=dict)
    adapters: Files = field(default_factory=dict)
    template: str | None = None
    system: str | None = None
    license: str | None = None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    messages: tuple[tuple[str, str], ...] = ()
    quantize: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _File:
    """An uploaded file with its checked header. `name` is the client's name for it."""

    name: str
    header: GGUFFile

    @property
    def path(self) -> Path:
        return self.header.path

    @property
    def is_projector(self) -> bool:
        return self.header.architecture == "clip"

    @property
    def is_adapter(self) -> bool:
        return self.header.metadata.get("general.type") == "adapter"

    @property
    def is_weights(self) -> bool:
        return not self.is_projector and not self.is_adapter

    @property
    def part(self) -> tuple[int, int]:
        """The part number, from 0, and the number of parts; (0, 1) for a whole model."""
        number, count = (self.header.metadata.get(f"split.{key}") for key in ("no", "count"))
        return (number, count) if isinstance(number, int) and isinstance(count, int) and count > 1 else (0, 1)


async def create(library: Library, config: Config, recipe: ModelRecipe) -> Progress:
    """Create a model and yield each step; "success" is the last.

    The recipe is checked before the first step. Raises ModelNotFoundError for an unknown source, ValidationError,
    InvalidModelError, UnsupportedError, and OprelError if something cannot be written.
    """
    files = await anyio.to_thread.run_sync(_uploaded, library.blobs, recipe)
    manifest, header = await _source(library, recipe, files)
    manifest = _with_texts(_with_files(manifest, header, files), recipe)
    notes = [*recipe.notes, *await anyio.to_thread.run_sync(_template_notes, recipe.template, header)]
    program = quantize.prepare(config, header, recipe.quantize) if recipe.quantize else None
    if files:
        yield ProgressResponse(status="parsing GGUF")
    if program:
        async with aclosing(quantize.quantize(program, library.blobs, header, recipe.quantize)) as steps:
            async for step in steps:
                if isinstance(step, Path):
                    manifest = replace(manifest, weights=step, parts=())
                else:
                    yield step
    for path in dict.fromkeys(manifest.files):
        if re.fullmatch(BLOB_NAME, path.name):
            origin = "creating new" if program and path == manifest.weights else "using existing"
            yield ProgressResponse(status=f"{origin} layer {with_colon(path.name)}")
    for status in (*notes, "writing manifest"):
        yield ProgressResponse(status=status)
    await anyio.to_thread.run_sync(library.manifests.put, manifest)
    library.blobs.release(manifest.files)
    yield ProgressResponse(status="success")


def _uploaded(blobs: Blobs, recipe: ModelRecipe) -> list[_File]:
    """The blobs in the recipe with their headers. Blocks to read the headers."""
    files = [_file(blobs, name, digest) for name, digest in (*recipe.files.items(), *recipe.adapters.items())]
    for file in files[len(recipe.files) :]:
        if not file.is_adapter:
            raise ValidationError(f"{file.name} is not an adapter", "An adapter is a LoRA in a GGUF file.")
    return files


def _file(blobs: Blobs, name: str, digest: str) -> _File:
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise ValidationError("file path must be relative", "Give each file's path relative to its folder.")
    path = blobs.find(digest)
    if path is None:
        raise ValidationError(f'blob "{digest}" does not exist', f"Upload it first: POST /api/blobs/{digest}.")
    if not looks_like_gguf(path):
        raise UnsupportedError(
            f"{name} is not a GGUF file",
            "Convert the model first: llama.cpp's convert_hf_to_gguf.py converts safetensors to GGUF.",
        )
    try:
        return _File(name, read_gguf(path))
    except InvalidModelError as error:
        raise InvalidModelError(error.message.replace(str(path), name), *error.resolution_steps) from None


async def _source(library: Library, recipe: ModelRecipe, files: Sequence[_File]) -> tuple[Manifest, GGUFFile]:
    """The initial manifest under the new name, and the header of its weights."""
    models = [file for file in files if file.is_weights]
    if recipe.source:
        if models:
            raise ValidationError(f"both 'from' and a model in 'files' ({models[0].name}) were specified")
        model = await library.find(recipe.source, may_use_paths=recipe.may_use_paths)
        if recipe.quantize and model.converted:
            await anyio.to_thread.run_sync(convert, model.weights, model.converted)
        parent = "" if is_path(model.name) else model.name
        return replace(model.manifest, name=recipe.name.text, parent=parent, also=()), model.header
    if not files:
        raise ValidationError("neither 'from' or 'files' was specified", "Name a model or upload one.")
    if not models:
        raise ValidationError(
            "there is no model among the files", "Name the model of the projector or adapter: `from`."
        )
    if len(models) == 1 and models[0].part[1] == 1:
        return Manifest(name=recipe.name.text, weights=models[0].path), models[0].header
    parts = _in_order(models)
    paths = tuple(part.path for part in parts)
    weights = await anyio.to_thread.run_sync(library.blobs.join, paths)
    return Manifest(name=recipe.name.text, weights=weights, parts=paths), parts[0].header


def _in_order(parts: Sequence[_File]) -> list[_File]:
    """The ordered parts of a split model. Raises ValidationError for missing or extra parts."""
    count = max(part.part[1] for part in parts)
    by_number = {part.part: part for part in parts}
    if len(parts) != count or set(by_number) != {(number, count) for number in range(count)}:
        names = f"{', '.join(part.name for part in parts)} {'is' if len(parts) == 1 else 'are'}"
        raise ValidationError(f"{names} not one complete model", "Give one file, or all parts of a split model.")
    return [by_number[number, count] for number in range(count)]


def _with_files(manifest: Manifest, header: GGUFFile, files: Sequence[_File]) -> Manifest:
    """`manifest` with its projector and adapters replaced by those among `files`."""
    projectors = [file.path for file in files if file.is_projector]
    adapters = [file for file in files if file.is_adapter]
    if len(projectors) > 1:
        raise ValidationError("there is more than one projector among the files")
    for adapter in adapters:
        if adapter.header.architecture != header.architecture:
            raise ValidationError(
                f"{adapter.name} is an adapter for {adapter.header.architecture}, not for {header.architecture}"
            )
    return replace(
        manifest,
        projector=projectors[0] if projectors else manifest.projector,
        adapters=tuple(adapter.path for adapter in adapters) or manifest.adapters,
    )


def _with_texts(manifest: Manifest, recipe: ModelRecipe) -> Manifest:
    given = {"template": recipe.template, "system": recipe.system, "license": recipe.license}
    return replace(
        manifest,
        **{name: text for name, text in given.items() if text is not None},  # type: ignore[arg-type]
        parameters={**manifest.parameters, **recipe.parameters},
        messages=recipe.messages or manifest.messages,
    )


def _template_notes(template: str | None, header: GGUFFile) -> list[str]:
    """Notes about a template that cannot be translated. Blocks to parse it.

    Raises UnsupportedError if the model has no own template.
    """
    import jinja2  # imported late: few requests have a template

    if len(template or "") > LONGEST_TEMPLATE:
        raise ValidationError(f"template error: it has more than {LONGEST_TEMPLATE:,} characters")
    try:
        jinja2.Environment(extensions=["jinja2.ext.loopcontrols"]).parse(go_template.to_jinja(template or ""))
    except jinja2.TemplateSyntaxError as error:
        if "unknown tag" not in str(error):  # an engine may support more tags
            raise ValidationError(f"template error: {error}") from error
    except RecursionError as error:
        raise ValidationError("template error: it is nested too deeply") from error
    except UnsupportedError as error:
        if not header.chat_template:
            raise
        return [f"{error.message}: the model's own is used"]
    return []
