"""Short names of popular models: `qwen2.5-coder:7b`, `qwencoder`, `qwen2.5-coder:7b-q5_k_m` -> a repository.

They are defined in `aliases.yaml` beside this module. `aliases.yaml` in OPREL_HOME adds to them and takes precedence.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from oprel.core.exceptions import ConfigError, ValidationError
from oprel.core.names import DEFAULT_TAG, HubOrigin, ModelRef, NameKind, Origin, origins
from oprel.core.variants import quantization_of
from oprel.downloader.offers import NoSuchVariant

FILE = Path(__file__).with_name("aliases.yaml")
KEYS = {"about", "license", "capabilities", "also", "sizes", "default"}
CAPABILITIES = {"completion", "embedding", "rerank", "tools", "thinking", "insert", "vision", "audio"}
_REPOSITORY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}")


@dataclass(frozen=True, kw_only=True)
class Alias:
    """A family of models. `repositories` maps each size to a repository; a name without a size means `default`.

    `also` are alternative names; `about` describes the purpose in one line.
    """

    name: str
    repositories: Mapping[str, str]
    default: str
    capabilities: tuple[str, ...] = ()
    license: str = ""
    about: str = ""
    also: tuple[str, ...] = ()

    def origin(self, tag: str) -> HubOrigin | None:
        """The repository for a tag: a size, a quantization, or both as in `7b-q5_k_m`; None for any other tag."""
        tag = tag.lower()
        if tag == DEFAULT_TAG:
            return HubOrigin(self.repositories[self.default])
        if tag in self.repositories:
            return HubOrigin(self.repositories[tag])
        size = max((size for size in self.repositories if tag.startswith(f"{size}-")), key=len, default="")
        rest = tag.removeprefix(f"{size}-") if size else tag
        quant = quantization_of(f"{rest}.gguf")
        if quant is None or quant.lower() != re.sub(r"^(instruct|it|chat)-", "", rest).replace("fp16", "f16"):
            return None
        return HubOrigin(self.repositories[size or self.default], quant)


class Aliases:
    """All aliases, in alphabetical order."""

    def __init__(self, aliases: Mapping[str, Alias]) -> None:
        self._aliases = dict(sorted(aliases.items()))
        self._by_name = {other.casefold(): alias for alias in self._aliases.values() for other in alias.also}
        self._by_name |= {name.casefold(): alias for name, alias in self._aliases.items()}

    @classmethod
    def load(cls, home: Path) -> "Aliases":
        """The package's aliases and the user's in `home`. Raises ConfigError for an invalid user file."""
        return cls({**_package(), **_read(home / FILE.name)})

    def __iter__(self) -> Iterator[Alias]:
        return iter(self._aliases.values())

    def origins(self, ref: ModelRef) -> tuple[Origin, ...]:
        """Where to look for a model, in order: the repository of its alias, else what its name implies."""
        name, _, tag = ref.text.partition(":")
        alias = self._by_name.get(name.casefold()) if ref.kind is NameKind.NAME else None
        origin = alias.origin(tag) if alias else None
        return (origin,) if origin else origins(ref)

    def missing_tag(self, ref: ModelRef) -> NoSuchVariant | None:
        """Why a name whose family is known leads to no repository: its tag is no size of it. None for other names."""
        name, _, tag = ref.text.partition(":")
        alias = self._by_name.get(name.casefold()) if ref.kind is NameKind.NAME else None
        if alias is None or alias.origin(tag):
            return None
        sizes = ", ".join(alias.repositories)
        return NoSuchVariant(
            f"{alias.name} has no {tag}", f"It has {sizes}, each also with a quantization: {alias.default}-q8_0."
        )


@lru_cache(maxsize=1)
def _package() -> Mapping[str, Alias]:
    return _read(FILE)


def _read(file: Path) -> dict[str, Alias]:
    from oprel.core.configuration.yaml_file import read_yaml_file  # imported late: with it comes the parser

    try:
        content = read_yaml_file(file).content or {}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error}", "Correct it or remove it.") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{file} must map model names to their sizes")
    return {str(name): _alias(str(name), entry, file) for name, entry in content.items()}


def _alias(name: str, entry: object, file: Path) -> Alias:
    """Raises ConfigError, which names the problem."""
    if not isinstance(entry, dict) or not isinstance(sizes := entry.get("sizes"), dict) or not sizes:
        raise _wrong(file, name, "it has no sizes")
    if unknown := {str(key) for key in entry} - KEYS:
        raise _wrong(file, name, f"{min(unknown)!r} is not a key of an alias")
    repositories = {str(size).lower(): str(repository) for size, repository in sizes.items()}
    if bad := [repository for repository in repositories.values() if not _REPOSITORY.fullmatch(repository)]:
        raise _wrong(file, name, f"{bad[0]!r} is not a repository")
    default = str(entry.get("default", next(iter(repositories)))).lower()
    if default not in repositories:
        raise _wrong(file, name, f"its default {default!r} is not one of its sizes")
    capabilities = _texts(entry.get("capabilities"))
    if strange := set(capabilities) - CAPABILITIES:
        raise _wrong(file, name, f"{min(strange)!r} is not a capability")
    also = _texts(entry.get("also"))
    _check_names((name, *also), file)
    license, about = (str(entry.get(key, "")) for key in ("license", "about"))
    return Alias(
        name=name,
        repositories=repositories,
        default=default,
        capabilities=capabilities,
        license=license,
        about=about,
        also=also,
    )


def _texts(given: object) -> tuple[str, ...]:
    return tuple(str(text) for text in given) if isinstance(given, list) else ()


def _check_names(names: tuple[str, ...], file: Path) -> None:
    for name in names:
        try:
            good = ModelRef.parse(name).text == f"{name}:{DEFAULT_TAG}" and "/" not in name
        except ValidationError:
            good = False
        if not good:
            raise _wrong(file, name, "it is not a model name")


def _wrong(file: Path, name: str, what: str) -> ConfigError:
    return ConfigError(
        f"{file}: {name}: {what}",
        "An alias looks like: `name: {sizes: {7b: ORG/REPO}, capabilities: [tools], license: MIT, about: chat}`.",
    )
