"""The names by which a model is known beside its own: those of its repository, and others that were used. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from oprel.core.names import OLLAMA_HOST, OLLAMA_NAMESPACE, HubOrigin, ModelRef, NameKind, hub_origin, is_hub_name
from oprel.core.variants import Variant, named

if TYPE_CHECKING:
    from oprel.core.models.manifests import Manifest


def resolve_in_repository(ref: ModelRef, manifests: "Iterable[Manifest]") -> "Manifest | None":
    """Resolve a name that matches no manifest exactly to a model of its repository.

    Such names are ORG/REPO:Q8_0, a file's name, or a name without a quantization; the last means the model that a pull
    of that name chose, else the only one of the repository.
    """
    requested = hub_origin(ref)
    if requested is None:
        return None
    own = [(manifest, origin) for manifest in manifests if (origin := _same_repository(manifest, requested))]
    if not own:
        return None
    if requested.file:
        suffix = f"/{requested.file}"
        return next((manifest for manifest, _ in own if manifest.weights.as_posix().endswith(suffix)), None)
    if requested.quant:
        match = named([Variant(origin.quant, ()) for _, origin in own], requested.quant)
        return next((manifest for manifest, origin in own if match and origin.quant == match.label), None)
    last = max((manifest for manifest, _ in own), key=lambda manifest: manifest.chosen)
    return last if last.chosen or len(own) == 1 else None


def with_known_names(
    manifest: "Manifest", ref: ModelRef, present: Sequence[str] = (), twin: "Manifest | None" = None
) -> "Manifest":
    """The manifest of a pulled model, with the names that it has beside its own.

    It was requested as `ref`. `present`: what its source calls it now if that differs, as for a renamed repository.
    `twin`: what is installed of it, perhaps under another name; of two names of a repository the present one stays.
    """
    if twin and twin.key in [ModelRef.parse(name).key for name in present]:
        others = [*present, *twin.also, manifest.name, ref.text]
        manifest = replace(manifest, name=twin.name)
    else:
        others = [*present, *((*twin.also, twin.name) if twin else ()), ref.text]
    own = replace(manifest, also=())
    also: dict[str, str] = {}
    for other in map(ModelRef.parse, others):
        if other.key != own.key and not _is_implied(other, own):
            also.setdefault(other.key, other.name)
    return replace(own, also=tuple(also.values()))


def _is_implied(ref: ModelRef, manifest: "Manifest") -> bool:
    """Whether the name leads to the model anyway: it is that of its whole repository, or another spelling."""
    origin = hub_origin(ref)
    return origin is not None and (not origin.names_one or resolve_in_repository(ref, [manifest]) is not None)


def _same_repository(manifest: "Manifest", requested: HubOrigin) -> HubOrigin | None:
    """The manifest's origin if it is from the requested repository, else None. LM Studio's folders are ORG/REPO too."""
    names = (manifest.name, *manifest.also)
    refs = (ModelRef.parse(name) for name in names if is_hub_name(name) or manifest.provider == "lmstudio")
    origins = (origin for ref in refs if (origin := hub_origin(ref)))
    repository = requested.repository.casefold()
    return next((origin for origin in origins if origin.repository.casefold() == repository), None)


def older_keys(ref: ModelRef) -> tuple[str, ...]:
    """The keys under which earlier versions kept a model that was named with the parts which a name has by default.

    >>> older_keys(ModelRef.parse("tiny"))
    ('library/tiny:latest', 'registry.ollama.ai/library/tiny:latest')
    """
    parts = ref.key.count("/")
    if ref.kind is not NameKind.NAME or parts > 1:
        return ()
    full = ref.key if parts else f"{OLLAMA_NAMESPACE}/{ref.key}"
    return (*(() if parts else (full,)), f"{OLLAMA_HOST}/{full}")
