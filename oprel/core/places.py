"""Where other programs keep their models on this machine. Pure except for reading LM Studio's settings.

Ollama: OLLAMA_MODELS, else ~/.ollama/models and the folder of its Linux service. Hugging Face: HF_HUB_CACHE, the older
HUGGINGFACE_HUB_CACHE, HF_HOME, else ~/.cache/huggingface/hub. LM Studio: the folder in ~/.lmstudio-home-pointer and its
settings, else ~/.lmstudio/models. llama.cpp: LLAMA_CACHE, else ~/.cache/llama.cpp. Also the logins of `docker login`:
DOCKER_CONFIG, else ~/.docker; and of `podman login`: REGISTRY_AUTH_FILE, $XDG_RUNTIME_DIR/containers,
~/.config/containers.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

OLLAMA_SERVICE = "/usr/share/ollama/.ollama/models"
# In the user's home, for programs without settings of their own.
USUAL = (".ollama/models", ".cache/huggingface/hub", ".lmstudio/models", ".cache/lm-studio/models", ".cache/llama.cpp")


@dataclass(frozen=True, kw_only=True)
class Places:
    """Folders of models, and the files of Docker's and Podman's logins; none of them has to exist.

    `moved` are those of the folders that the user keeps elsewhere than usual, perhaps on another disk.
    """

    ollama: tuple[Path, ...] = ()
    hub: tuple[Path, ...] = ()
    lm_studio: tuple[Path, ...] = ()
    llama_cpp: tuple[Path, ...] = ()
    logins: tuple[Path, ...] = ()
    moved: tuple[Path, ...] = ()


def places(environ: Mapping[str, str], *, with_models: bool = True) -> Places:
    """The places of the user with that environment."""
    home = Path(environ.get("HOME") or Path.home())
    logins = tuple(_logins(home, environ))
    if not with_models:
        return Places(logins=logins)
    cache = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    hub_home = environ.get("HF_HOME") or cache / "huggingface"
    hub = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE")
    ollama = environ.get("OLLAMA_MODELS", "").strip().strip("\"'")
    chosen = Places(
        ollama=(Path(ollama).expanduser(),) if ollama else (home / ".ollama" / "models", Path(OLLAMA_SERVICE)),
        hub=(Path(hub or Path(hub_home, "hub")).expanduser(),),
        lm_studio=tuple(dict.fromkeys(_lm_studio(home))),
        llama_cpp=(Path(environ.get("LLAMA_CACHE") or cache / "llama.cpp").expanduser(),),
        logins=logins,
    )
    folders = (*chosen.ollama, *chosen.hub, *chosen.lm_studio, *chosen.llama_cpp)
    return replace(chosen, moved=tuple(folder for folder in folders if _is_moved(folder, home)))


def _is_moved(folder: Path, home: Path) -> bool:
    """Whether it is not a usual folder, or one that is a link out of the home folder."""
    if folder == Path(OLLAMA_SERVICE):
        return False
    is_usual = folder in [home / name for name in USUAL]
    return not (is_usual and Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(home)))


def _logins(home: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    yield Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json"
    if named := environ.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
    for folder in (environ.get("XDG_RUNTIME_DIR"), environ.get("XDG_CONFIG_HOME") or home / ".config"):
        if folder:
            yield Path(folder) / "containers" / "auth.json"


def _lm_studio(home: Path) -> list[Path]:
    pointer = _text(home / ".lmstudio-home-pointer").strip()
    homes = [Path(pointer)] if pointer else [home / ".lmstudio", home / ".cache" / "lm-studio"]
    return [_downloads(folder) or folder / "models" for folder in homes]


def _downloads(home: Path) -> Path | None:
    """The folder that the user set in LM Studio."""
    try:
        folder = json.loads(_text(home / "settings.json"))["downloadsFolder"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return Path(folder) if isinstance(folder, str) and folder else None


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace") if file.is_file() else ""
    except OSError:
        return ""
