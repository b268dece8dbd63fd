"""The frozen `Config`: its fields define the file keys, the OPREL_* variables and the --flags.

Order: defaults < config file < environment < arguments. The file is the one given, else $OPREL_CONFIG, else
$XDG_CONFIG_HOME/oprel/config.yaml. A drop-in daemon also uses Ollama's port and its OLLAMA_* variables, which override
the file. This module reads settings from the environment, `configuration/environment` all else; no other does.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oprel.core.configuration import child_environments
from oprel.core.settings import (
    PATHS,
    SWITCH,
    DeclaredSetting,
    ModelSettings,
    SettingsGroup,
    Value,
    parse_keep_alive,
    setting,
)
from oprel.utils.process import systems
from oprel.utils.text import parse_duration

if TYPE_CHECKING:
    from oprel.core.configuration.given import GivenSetting, UnknownVariable
    from oprel.core.places import Places

ENV_PREFIX = "OPREL_"
# A Unix socket path is limited to 107 bytes on Linux (sun_path, unix(7)) and 103 on macOS, engine names included.
LONGEST_RUN_DIR = 80


class Config(SettingsGroup):
    """Every setting with its default. Durations are Go-like strings ("5m", "0", "-1" forever)."""

    home: str = setting("~/.oprel", "folder of models, conversations, logs and sockets")
    host: str = setting("", "daemon that clients talk to: http[s]://HOST:PORT, unix:/PATH; empty = this machine's own")
    server_host: str = setting("127.0.0.1", "address the daemon listens on; other machines reach it on 0.0.0.0")
    server_port: int = setting(11435, "TCP port the daemon listens on; 0 = any free one", largest=65535)
    tls_certificate: str = setting("", "certificate of the HTTPS port: a PEM file with its chain; empty = plain HTTP")
    tls_key: str = setting("", "key of that certificate: a PEM file; empty = in the certificate's file")
    tls_self_signed: str = setting("off", "whether to speak HTTPS with a certificate that the daemon makes", SWITCH)
    tls_port: int = setting(
        0,
        "another port for HTTPS; server_port then speaks HTTP, on loopback only; 0 = server_port speaks HTTPS",
        largest=65535,
    )
    listen: str = setting(
        "", "where the daemon listens too, comma-separated: unix:/PATH?mode=0660&group=NAME, pipe:NAME"
    )
    origins: str = setting(
        "", "web origins that may call the API, comma-separated, * as wildcard; local ones always may"
    )
    api_keys: str = setting(
        "",
        "keys that callers may use beside those of `oprel keys`: NAME:SCOPE:SECRET or SECRET, comma-separated; "
        "file:PATH = a file with one a line",
    )
    request_log: str = setting("text", "form of the log of requests, requests.log", ("text", "json", "off"))
    allowed_hosts: str = setting(
        "", "more names of this machine in URLs, comma-separated, * as wildcard; its own name and addresses work too"
    )
    allow_unauthenticated_lan: str = setting(
        "off", "whether other machines may use models without a key, where the daemon listens for them", SWITCH
    )
    share_with_local_users: str = setting(
        "off", "whether other users of this machine may use models without a key", SWITCH
    )
    trusted_proxies: str = setting(
        "", "proxies that say who their clients are, comma-separated: addresses, networks, or unix for the Unix socket"
    )
    log_level: str = setting("info", "how much the daemon logs", ("debug", "info", "warning", "error"))
    keep_alive: str = setting("5m", "how long an idle model stays loaded; 0 = not at all, -1 = forever")
    keep_alive_locked: str = setting("off", "whether to ignore keep_alive in requests", SWITCH)
    default_max_memory_mb: int = setting(
        0, "MiB that all loaded models may use together; 0 = what the machine has, less a reserve"
    )
    preload: str = setting("", "models to load when the daemon starts, comma-separated")
    restore: str = setting("on", "whether a daemon reloads the models that were loaded when the last one ended", SWITCH)
    engine_path: str = setting(
        "", "llama-server to use; empty = the first that works: binary_dir, PATH, the xllamacpp wheel"
    )
    binary_dir: str = setting("", "folder of installed engines; empty = binaries/ in home")
    engine_sources: str = setting("", "list of engine builds for `oprel engines install`; empty = oprel's own list")
    engine_mirror: str = setting("", "address of a folder with the files of that list; empty = where the list says")
    hardware: str = setting("", "file that describes this machine, from `oprel hardware --json`; empty = look at it")
    load_timeout: str = setting("5m", "how long a loading engine may make no progress")
    stall_timeout: str = setting(
        "30s",
        "how long a busy engine may make no progress, or a third of that without CPU use; longer for slow models",
    )
    drain_timeout: str = setting("10s", "how long a stopping daemon lets answers finish")
    ctx_size: int = setting(0, "context length of each request in tokens; 0 = chosen for this machine")
    batch_size: int = setting(0, "prompt tokens per batch; 0 = the engine's choice")
    parallel: int = setting(0, "requests that one engine processes at once; 0 = eight, or fewer to fit into memory")
    max_body_mb: int = setting(
        32, "size of the largest request in MiB; uploads of model files may be larger", smallest=1
    )
    max_queue: int = setting(512, "requests that may wait for one engine; more are refused")
    n_threads: int = setting(0, "CPU threads of an engine; 0 = as many as suit the model, the cores and the load")
    n_gpu_layers: int = setting(-1, "layers on the GPU; -1 = as many as fit", smallest=-1)
    kv_cache_type: str = setting(
        "auto",
        "type of the KV cache; auto = f16, or q8_0 to fit",
        ("auto", "f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"),
    )
    flash_attention: str = setting("auto", "flash attention", ("auto", "on", "off"))
    prefer: str = setting("balanced", "what plans prefer", ("balanced", "quality", "speed", "context"))
    backend: str = setting("", "preferred engine, by its name in `oprel engines`; empty = the best one for the model")
    engine_args: str = setting("", "additional engine arguments, in shell syntax")
    engine_variables: str = setting(
        "", "environment variables that engines get too, in shell syntax: NAME, NAME_* or NAME=VALUE"
    )
    runaway_guard: str = setting(
        "on", "whether to end answers that repeat themselves without end, where a request does not say", SWITCH
    )
    crash_prompts: str = setting("off", "whether crash reports may contain prompts", SWITCH)
    in_place: str = setting("on", "whether to use models of other programs where they are stored", SWITCH)
    truncate_embeddings: str = setting(
        "off", "whether /v1/embeddings cuts inputs that are too long, where a request does not say", SWITCH
    )
    ollama_registry: str = setting("https://registry.ollama.ai", "address of Ollama's registry or of a mirror")
    insecure_registries: str = setting("", "registries to access over http, comma-separated: HOST or HOST:PORT")
    cache_dir: str = setting(
        "", "folder of downloaded files, in the layout of Hugging Face's cache; empty = hub/ in home"
    )
    max_concurrent_downloads: int = setting(3, "models to download at the same time", smallest=1)
    download_rate: str = setting(
        "0", "rate of all downloads together, such as 500KB/s; 8-18 500KB/s, 5MB/s = by the hour; 0 = no limit"
    )
    offline: str = setting("off", "whether to block all downloads and online lookups", SWITCH)
    hf_endpoint: str = setting(
        "https://huggingface.co", "address of Hugging Face's hub or of a mirror; HF_ENDPOINT works too"
    )
    models: str = setting("", "settings of individual models: a mapping of names to settings, as YAML or JSON")

    def __post_init__(self) -> None:
        # The daemon starts in another folder, where a relative path would mean another file; `~` means the same there.
        for name in PATHS:
            path = getattr(self, name)
            if path and not path.startswith("~"):
                vars(self)[name] = os.path.abspath(path)

    def __repr__(self) -> str:
        hidden = {"api_keys": "***"} if self.api_keys else {}
        return f"Config({', '.join(f'{name}={value!r}' for name, value in {**vars(self), **hidden}.items())})"

    @property
    def home_dir(self) -> Path:
        return Path(os.path.abspath(os.path.expanduser(self.home)))

    @property
    def models_dir(self) -> Path:
        return self.home_dir / "models"

    @property
    def logs_dir(self) -> Path:
        return self.home_dir / "logs"

    @property
    def crashes_dir(self) -> Path:
        return self.home_dir / "crashes"

    @property
    def engines_dir(self) -> Path:
        return Path(os.path.expanduser(self.binary_dir)) if self.binary_dir else self.home_dir / "binaries"

    @property
    def hub_dir(self) -> Path:
        return Path(os.path.expanduser(self.cache_dir)) if self.cache_dir else self.own_hub_dir

    @property
    def own_hub_dir(self) -> Path:
        return self.home_dir / "hub"

    @property
    def urls_dir(self) -> Path:
        """Downloads that belong to no repository: Hugging Face's programs would take them for damage of their cache."""
        return self.home_dir / "urls"

    @property
    def fetched_dirs(self) -> tuple[Path, ...]:
        """Folders that may have downloads, also those of earlier settings."""
        return tuple(dict.fromkeys((self.hub_dir, self.own_hub_dir, self.home_dir)))

    @property
    def run_dir(self) -> Path:
        """Folder of sockets and locks; a short path in the temporary folder if home's is too long for a socket."""
        near = self.home_dir / "run"
        if len(os.fsencode(near)) <= LONGEST_RUN_DIR:
            return near
        from oprel.core.home import short_run_dir

        return short_run_dir(near)

    @property
    def socket_path(self) -> Path:
        return self.run_dir / "oprel.sock"

    @property
    def own_certificate(self) -> Path:
        """The certificate that the daemon makes itself; its key is beside it."""
        return self.home_dir / "tls" / "certificate.pem"

    @property
    def own_key(self) -> Path:
        return self.own_certificate.with_name("key.pem")

    @property
    def further_addresses(self) -> tuple[str, ...]:
        """Where the daemon listens besides its own socket and port."""
        return tuple(address for part in self.listen.split(",") if (address := part.strip()))

    @property
    def places(self) -> "Places":
        from oprel.core.places import places

        return places(os.environ, with_models=self.in_place == "on")

    @property
    def extra_environment(self) -> dict[str, str]:
        """What engines get beside `child_environment`. Raises ConfigError."""
        return child_environments.requested(self.engine_variables, os.environ)

    @property
    def keep_alive_seconds(self) -> float:
        return parse_keep_alive(self.keep_alive)

    @property
    def drain_timeout_seconds(self) -> float:
        return parse_duration(self.drain_timeout)

    @property
    def load_timeout_seconds(self) -> float:
        return parse_duration(self.load_timeout)

    @property
    def stall_timeout_seconds(self) -> float:
        return parse_duration(self.stall_timeout)

    @property
    def preloaded(self) -> tuple[str, ...]:
        """Names of the models to load when the daemon starts, without duplicates."""
        from oprel.core.models.settings import preloaded

        return preloaded(self)

    @property
    def named_models(self) -> tuple[str, ...]:
        """Names of the models with their own settings."""
        from oprel.core.models.settings import named_models

        return named_models(self)

    def for_model(self, name: str) -> ModelSettings:
        """The settings in effect for the model of that name."""
        from oprel.core.models.settings import settings_of

        return settings_of(self, name)


SETTINGS = Config.entries


def given_settings(
    overrides: Mapping[str, Value] | None = None,
    *,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    drop_in: bool = False,
) -> "dict[str, GivenSetting]":
    """What is set somewhere, and where. Arguments and errors are those of `load_config`."""
    from oprel.core.configuration import given

    if environ is None:
        _ensure_home()
        environ = os.environ
    path = file or config_file(environ)
    return given.merged(
        [
            given.from_file(path) if path else {},
            given.from_ollama(environ)[0] if drop_in else {},
            given.from_hugging_face(environ),
            given.from_environment(environ),
            given.from_arguments(overrides or {}),
        ]
    )


def config_of(given: "Mapping[str, GivenSetting]") -> Config:
    """The configuration with these settings, and else the defaults."""
    values: dict[str, Any] = {name: setting.value for name, setting in given.items()}  # of their fields' types
    return Config(**values)


def load_config(
    overrides: Mapping[str, Value] | None = None,
    *,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    drop_in: bool = False,
) -> Config:
    """The effective configuration. `overrides` are arguments by field name; `environ` is for tests.

    `drop_in`: for a drop-in daemon. Raises ConfigError, which names the key, where it was set, and valid values.
    """
    return config_of(given_settings(overrides, file=file, environ=environ, drop_in=drop_in))


def drop_in_notes(environ: Mapping[str, str] | None = None) -> list[str]:
    """Notes of a drop-in daemon about the OLLAMA_* variables that it ignores."""
    from oprel.core.configuration import given

    return given.from_ollama(os.environ if environ is None else environ)[1]


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def settings() -> Iterable[DeclaredSetting]:
    return SETTINGS.values()


# `host` is for clients.
SERVER_SETTINGS = tuple(name for name in SETTINGS if name != "host")


def _ensure_home() -> None:
    """Give a user without a home folder another one as HOME, for libraries and engines too. Raises ConfigError."""
    home = os.path.expanduser("~")
    if not os.path.isdir(home) or (home == "/" and not systems.is_root()):
        from oprel.core.home import home_instead_of

        os.environ["HOME"] = home_instead_of(home, oprel_home=os.environ.get("OPREL_HOME", ""))


def config_file(environ: Mapping[str, str] | None = None) -> Path | None:
    """The configuration file that is read where none is given; None if there is none."""
    environ = os.environ if environ is None else environ
    named, usual = environ.get("OPREL_CONFIG"), usual_config_file(environ)
    return Path(named) if named else usual if usual.is_file() else None


def usual_config_file(environ: Mapping[str, str] | None = None) -> Path:
    """Where the configuration file of this user belongs."""
    environ = os.environ if environ is None else environ
    folder = Path(environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser())
    return folder / "oprel" / "config.yaml"


def environment_settings() -> "dict[str, GivenSetting]":
    """What the environment sets. Raises ConfigError."""
    from oprel.core.configuration import given

    return given.from_environment(os.environ)


def unknown_variables() -> "list[UnknownVariable]":
    """The variables of the environment that look like settings of oprel, and are none."""
    from oprel.core.configuration import given

    return list(given.unknown_variables(os.environ))
