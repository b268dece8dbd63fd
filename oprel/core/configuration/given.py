"""What is set, and where: in the configuration file, the environment, arguments. Pure but for reading the file."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from oprel.core.config import ENV_PREFIX, SETTINGS, flag
from oprel.core.exceptions import ConfigError
from oprel.core.settings import Value, converted, find_setting

if TYPE_CHECKING:
    from oprel.core.configuration.yaml_file import KeyPath

# Variables that are not settings: the configuration file; the key that clients send; the interpreter of bin/oprel; a
# switch of oprel's own tests.
OTHER_VARIABLES = ("OPREL_CONFIG", "OPREL_API_KEY", "OPREL_PYTHON", "OPREL_UPDATE_SNAPSHOTS")


class GivenSetting(NamedTuple):
    """A value that is set. `origin`: FILE:LINE, the name of a variable, or a flag."""

    value: Value
    origin: str


class UnknownVariable(NamedTuple):
    """A variable that begins like oprel's own, but has no meaning. `nearest`: the one that may be meant, or empty."""

    name: str
    nearest: str

    def __str__(self) -> str:
        return f"{self.name} has no meaning" + (f": did you mean {self.nearest}?" if self.nearest else "")


Given = Mapping[str, GivenSetting]


def merged(sources: Sequence[Given]) -> dict[str, GivenSetting]:
    """What is in effect; later sources win. Where they agree, the origin is the first one that set the value."""
    result: dict[str, GivenSetting] = {}
    for source in sources:
        for name, given in source.items():
            if name not in result or result[name].value != given.value:
                result[name] = given
    return result


def from_file(path: Path) -> dict[str, GivenSetting]:
    """Raises ConfigError for the first problem."""
    settings, problems = examined_file(path)
    if problems:
        raise problems[0]
    return settings


def examined_file(path: Path) -> tuple[dict[str, GivenSetting], list[ConfigError]]:
    """The valid settings of a file, and what is wrong with the others."""
    from oprel.core.configuration.yaml_file import read_yaml_file

    try:
        content, lines = read_yaml_file(path)
    except ConfigError as error:
        return {}, [error]
    except OSError as error:
        return {}, [ConfigError(f"cannot read the configuration file {path}: {error.strerror}")]
    if not isinstance(content or {}, dict):
        step = "`oprel config edit` opens it; docs/settings.md lists the keys."
        return {}, [ConfigError(f"{path} must hold keys and values, one per line", step)]
    assert content is None or isinstance(content, dict)
    settings: dict[str, GivenSetting] = {}
    problems: list[ConfigError] = []
    for name, value in ((str(key), value) for key, value in (content or {}).items() if value is not None):
        origin = f"{path}:{lines.get((name,), 1)}"
        try:
            if name == "models" and isinstance(value, dict):
                _check_models(value, path, lines)
            settings[name] = GivenSetting(_converted(name, value, origin, path.parent), origin)
        except ConfigError as error:
            problems.append(error)
    return settings, problems


def _check_models(models: Mapping[object, object], path: Path, lines: "Mapping[KeyPath, int]") -> None:
    """Raises ConfigError with the line of the model, where the setting as a whole has only its own."""
    for model, own in models.items():
        line = lines.get(("models", str(model)), lines.get(("models",), 1))
        _converted("models", {model: own}, f"{path}:{line}", path.parent)


def from_environment(environ: Mapping[str, str]) -> dict[str, GivenSetting]:
    variables = {name: variable_of(name) for name in SETTINGS}
    return {
        name: GivenSetting(_converted(name, environ[key], key), key)
        for name, key in variables.items()
        if environ.get(key)
    }


def from_hugging_face(environ: Mapping[str, str]) -> dict[str, GivenSetting]:
    """The settings that Hugging Face's own programs read. HF_TOKEN is left to its library."""
    address = environ.get("HF_ENDPOINT")
    return {"hf_endpoint": GivenSetting(address, "HF_ENDPOINT")} if address else {}


def from_ollama(environ: Mapping[str, str]) -> tuple[dict[str, GivenSetting], list[str]]:
    """Settings of a drop-in daemon. As in Ollama, an invalid variable only causes a note."""
    from oprel.core.configuration import ollama_env

    values = {
        "server_port": GivenSetting(ollama_env.PORT, "--drop-in"),
        "truncate_embeddings": GivenSetting("on", "--drop-in"),  # as in Ollama
    }
    notes = []
    for reading in ollama_env.readings(environ):
        error, variable = reading.error, reading.variable
        try:
            values |= {
                name: GivenSetting(_converted(name, value, variable), variable)
                for name, value in reading.settings.items()
            }
        except ConfigError as wrong:
            error = wrong.message.removeprefix(f"{variable}: ")
        if error:
            notes.append(f"{variable} is ignored: {error}")
    if unused := ollama_env.meaningless(environ):
        notes.append(f"ignored, without a meaning in oprel: {', '.join(unused)}")
    return values, notes


def from_arguments(arguments: Mapping[str, Value]) -> dict[str, GivenSetting]:
    return {
        name: GivenSetting(_converted(name, value, f"argument {flag(name)}"), flag(name))
        for name, value in arguments.items()
    }


def unknown_variables(environ: Mapping[str, str]) -> Iterator[UnknownVariable]:
    """The variables that look like settings of oprel, and are none."""
    names = [name for name, value in environ.items() if name.startswith(ENV_PREFIX) and value]
    if names:
        meant = {variable_of(name) for name in SETTINGS}
        for name in sorted({*names} - meant - {*OTHER_VARIABLES}):
            from difflib import get_close_matches

            near = get_close_matches(name.removeprefix(ENV_PREFIX).lower(), SETTINGS, n=1)
            yield UnknownVariable(name, variable_of(near[0]) if near else "")


def variable_of(name: str) -> str:
    """The variable of a setting."""
    return ENV_PREFIX + name.upper()


def _converted(name: str, value: object, source: str, base: Path | None = None) -> Value:
    """`value` in its field's type; a relative path is resolved against `base` if given."""
    entry, folder = find_setting(SETTINGS, name, source), str(base or "")
    if name == "models":
        from oprel.core.models.settings import models_setting

        return models_setting(value, source, folder)
    result = converted(entry, value, source, folder)
    if name == "preload":
        from oprel.core.models.settings import preload_setting

        return preload_setting(str(result), source, folder)
    return result
