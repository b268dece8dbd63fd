"""Short names of models that many use: `qwen2.5-coder:7b`, `qwencoder`, `qwen2.5-coder:7b-q5_k_m` -> a repository.

They are in `aliases.yaml` beside this module; `aliases.yaml` in OPREL_HOME adds to them and goes before.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from oprel.core.exceptions import ConfigError, ValidationError
from oprel.core.names import DEFAULT_TAG, HubOrigin, ModelRef, NameKind, Origin, origins
from oprel.core.variants import quantization_of

FILE = Path(__file__).with_name("aliases.yaml")
KEYS = {"about", "license", "capabilities", "also", "sizes", "default"}
CAPABILITIES = {"completion", "embedding", "rerank", "tools", "thinking", "insert", "vision", "audio"}
_REPOSITORY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}")


@dataclass(frozen=True)
class Alias:
    """A family of models. `repositories` has one for each size, of which `default` is meant when none is named.

    `also` are other names for the same; `about` says in a line what it is good for.
    """

    name: str
    repositories: Mapping[str, str]
    default: str
    capabilities: tuple[str, ...] = ()
    license: str = ""
    about: str = ""
    also: tuple[str, ...] = ()

    def origin(self, tag: str) -> HubOrigin | None:
        """The repository that a tag means: a size, a quant, or both as in `7b-q5_k_m`; None for any other tag."""
        tag = tag.lower()
        if tag == DEFAULT_TAG:
            return HubOrigin(self.repositories[self.default])
        if tag in self.repositories:
            return HubOrigin(self.repositories[tag])
        size = max((one for one in self.repositories if tag.startswith(f"{one}-")), key=len, default="")
        rest = tag.removeprefix(f"{size}-") if size else tag
        quant = quantization_of(f"{rest}.gguf")
        if quant is None or quant.lower() != re.sub(r"^(instruct|it|chat)-", "", rest).replace("fp16", "f16"):
            return None
        return HubOrigin(self.repositories[size or self.default], quant)


class Aliases:
    """All of them, in alphabetical order."""

    def __init__(self, aliases: Mapping[str, Alias]) -> None:
        self._aliases = dict(sorted(aliases.items()))
        self._by_name = {other.casefold(): one for one in self._aliases.values() for other in one.also}
        self._by_name |= {name.casefold(): one for name, one in self._aliases.items()}

    @classmethod
    def load(cls, home: Path) -> "Aliases":
        """The package's, and the user's in `home`. Raises ConfigError for a file of the user's that is wrong."""
        return cls({**_package(), **_read(home / FILE.name)})

    def __iter__(self) -> Iterator[Alias]:
        return iter(self._aliases.values())

    def origins(self, ref: ModelRef) -> tuple[Origin, ...]:
        """Where a model of that name may be had, to be asked in this order: what an alias says, else its grammar."""
        name, _, tag = ref.text.partition(":")
        alias = self._by_name.get(name.casefold()) if ref.kind is NameKind.NAME else None
        found = alias.origin(tag) if alias else None
        return (found,) if found else origins(ref)


@lru_cache(maxsize=1)
def _package() -> Mapping[str, Alias]:
    return _read(FILE)


def _read(file: Path) -> dict[str, Alias]:
    import yaml

    try:
        content = yaml.safe_load(file.read_bytes()) or {}
    except FileNotFoundError:
        return {}
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{file} cannot be read: {error}", "Correct it or remove it.") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{file} must hold names of models, each with its sizes")
    return {str(name): _alias(str(name), entry, file) for name, entry in content.items()}


def _alias(name: str, entry: object, file: Path) -> Alias:
    """Raises ConfigError that names what is wrong."""
    if not isinstance(entry, dict) or not isinstance(sizes := entry.get("sizes"), dict) or not sizes:
        raise _wrong(file, name, "it has no sizes")
    if unknown := {str(key) for key in entry} - KEYS:
        raise _wrong(file, name, f"{min(unknown)!r} is no key of an alias")
    repositories = {str(size).lower(): str(repository) for size, repository in sizes.items()}
    if bad := [one for one in repositories.values() if not _REPOSITORY.fullmatch(one)]:
        raise _wrong(file, name, f"{bad[0]!r} is no repository")
    default = str(entry.get("default", next(iter(repositories)))).lower()
    if default not in repositories:
        raise _wrong(file, name, f"its default {default!r} is none of its sizes")
    capabilities = _texts(entry.get("capabilities"))
    if strange := set(capabilities) - CAPABILITIES:
        raise _wrong(file, name, f"{min(strange)!r} is no capability")
    also = _texts(entry.get("also"))
    _check_names((name, *also), file)
    license, about = (str(entry.get(key, "")) for key in ("license", "about"))
    return Alias(name, repositories, default, capabilities, license, about, also)


def _texts(given: object) -> tuple[str, ...]:
    return tuple(str(one) for one in given) if isinstance(given, list) else ()


def _check_names(names: tuple[str, ...], file: Path) -> None:
    for name in names:
        try:
            good = ModelRef.parse(name).text == f"{name}:{DEFAULT_TAG}" and "/" not in name
        except ValidationError:
            good = False
        if not good:
            raise _wrong(file, name, "it is no name of a model")


def _wrong(file: Path, name: str, what: str) -> ConfigError:
    return ConfigError(
        f"{file}: {name}: {what}",
        "An alias looks like: `name: {sizes: {7b: ORG/REPO}, capabilities: [tools], license: MIT, about: chat}`.",
    )
