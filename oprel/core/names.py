"""Model names; the only module that parses them. Pure.

    ./tiny.gguf  ~/m.gguf  /models/m.gguf  folder/m.gguf    -> PATH
    https://host/folder/m.gguf                              -> URL
    tiny  tiny:latest  user/tiny:q4  host:5000/user/tiny:q4 -> NAME  ([host/][namespace/]model[:tag])
    docker.io/ai/smollm2  ghcr.io/a/b/c/tiny:q4             -> NAME, of a repository of a registry
    hf.co/ORG/REPO  hf.co/ORG/REPO:Q4_K_M  hf.co/ORG/REPO:folder/m.gguf -> NAME of a repository, its quant or a file
    library/tiny  registry.ollama.ai/library/tiny:latest    -> NAME, of the model that is called tiny:latest here
    hf://ORG/REPO  ollama://tiny  https://ollama.com/library/tiny  https://huggingface.co/ORG/REPO/tree/main
    oci://ghcr.io/a/tiny  docker://ai/smollm2  https://hub.docker.com/r/ai/smollm2
                                                            -> NAME, by an address or the page that people copy

A name refers to a manifest in OPREL_HOME/models, to a model bundled with the package, or to one of another program.
Models of a repository are called hf.co/ORG/REPO:QUANT, however they were requested. The grammar is Ollama's: parts
start with a letter, digit or underscore, then also allow `-` and `.`; at most 80 bytes, 350 for the host. `origins`
tells where a name can be downloaded from.
"""

import os
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from urllib.parse import unquote, urlsplit

from oprel.core.exceptions import ValidationError
from oprel.core.variants import QUANTIZATION, quantization_of

DEFAULT_TAG = "latest"
# The model in oprel/bundled, which commands use by default.
GUIDE = "guide"
HUB_HOST = "hf.co"  # the form in model names
HUB_HOSTS = (HUB_HOST, "huggingface.co")
OLLAMA_HOST, OLLAMA_NAMESPACE = "registry.ollama.ai", "library"
# Docker Hub under its names; like Ollama's, its official repositories are in `library`.
DOCKER_HOSTS = ("docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")
LONGEST_URL = 2000  # characters

_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"
_NAME = re.compile(
    rf"(?:(?P<host>[A-Za-z0-9_][A-Za-z0-9_.:-]{{0,349}})/)?(?:(?P<namespace>{_PART}(?:/{_PART}){{0,15}})/)?(?P<model>{_PART})(?::(?P<tag>{_PART}))?"
)
# Repository names may be longer than model names, and the tag may be a file name, in any script.
_HUB_NAME = re.compile(
    rf"(?P<host>(?i:hf\.co|huggingface\.co))/(?:(?P<namespace>{_PART})/)?(?P<model>[A-Za-z0-9_][A-Za-z0-9_.-]{{0,95}})"
    r"(?::(?P<tag>[^\s/.:\\*?\"<>|-][^:\\*?\"<>|]{0,254}))?"
)
# Parts that a name has by default. After another host, `library` is a namespace like any other.
_DEFAULTS = re.compile(r"(?i:registry\.ollama\.ai/)?(?i:library/(?=[^/]+$))?")
# Addresses that people copy or know from other programs, and how the name begins that they stand for.
_ADDRESSES = (
    (re.compile(r"(?i)https?://(?=registry\.ollama\.ai/)"), ""),
    (re.compile(r"(?i)(?:ollama://|(?:https?://)?(?:www\.)?ollama\.com/)(?:library/)?"), ""),
    (re.compile(r"(?i)(?:https?://)?hub\.docker\.com/(?:r|_|repository/docker)/"), f"{DOCKER_HOSTS[0]}/"),
    (re.compile(r"(?i)docker://(?![^/]*[.:][^/]*/|localhost/)"), f"{DOCKER_HOSTS[0]}/"),
    (re.compile(r"(?i)(?:oci|docker)://"), ""),
    (re.compile(r"(?i)(?:hf|huggingface)://(?:(?:hf\.co|huggingface\.co)/)?"), f"{HUB_HOST}/"),
)
# What pages of Ollama's library and of Docker Hub have after the model's name.
_PAGES = re.compile(r"(?i)(?:https?://)?(?:(?:www\.)?ollama|hub\.docker)\.com/")
_PAGE_END = re.compile(r"(?:/(?:tags|general|blobs/\w+))?/?(?:[?#].*)?$")
_HUB_ADDRESS = re.compile(r"(?i)(?:https?://)?(?:www\.)?(?:hf\.co|huggingface\.co)/")
# A file of the hub by an address without its scheme, or by the page of another revision than main.
_HUB_BARE = re.compile(r"(?i)(?:hf\.co|huggingface\.co)/[^/]+/[^/]+/(?:resolve|blob|raw)/[^/]+/")
_HUB_REVISION = re.compile(r"(?i)(https?://(?:www\.)?(?:hf\.co|huggingface\.co)/[^/]+/[^/]+/)blob/(?!main/)")
# The page of a repository or of one of its files, below the hub's address.
_HUB_PAGE = re.compile(
    rf"(?P<repository>{_PART}/[A-Za-z0-9_][A-Za-z0-9_.-]{{0,95}})"
    r"(?:/tree/main(?:/[^?#]*)?|/blob/main/(?P<file>[^?#]+))?/?(?:[?#].*)?"
)
_HUB_RESOLVED = re.compile(
    rf"(?P<repository>{_PART}/[A-Za-z0-9_][A-Za-z0-9_.-]{{0,95}})/resolve/main/(?P<file>[^?#]+\.gguf)(?:[?#].*)?",
    re.IGNORECASE,
)
# A file as Hugging Face's file system names it: hf://ORG/REPO/FILE, perhaps with @main.
_HUB_FILE = re.compile(rf"(?P<repository>{HUB_HOST}/[^/]+/[^/:@]+)(?:@main)?/(?P<file>[^:]+\.gguf)", re.IGNORECASE)
_FILE_SUFFIXES = (".gguf", ".safetensors")


class NameKind(Enum):
    PATH = "path"
    NAME = "name"
    URL = "url"


@dataclass(frozen=True)
class HubOrigin:
    """A Hugging Face repository with a quant as users write it, or a file's path; without both, the best variant."""

    repository: str
    quant: str = ""
    file: str = ""

    @property
    def names_one(self) -> bool:
        """Whether it identifies one model of the repository."""
        return bool(self.quant or self.file)


@dataclass(frozen=True, kw_only=True)
class RegistryOrigin:
    """A model in Ollama's registry, in another OCI registry, or in a plugin's source.

    `insecure`: access it over http.
    """

    host: str
    namespace: str
    model: str
    tag: str = DEFAULT_TAG
    insecure: bool = False

    @property
    def repository(self) -> str:
        return f"{self.namespace}/{self.model}"

    @property
    def title(self) -> str:
        return f"{self.host}/{self.repository}:{self.tag}"


@dataclass(frozen=True)
class UrlOrigin:
    """A single file at a URL."""

    url: str


Origin = HubOrigin | RegistryOrigin | UrlOrigin


@dataclass(frozen=True)
class ModelRef:
    """A parsed model name. `text` is an absolute path, a URL, or a name as written, with its tag."""

    kind: NameKind
    text: str

    @property
    def path(self) -> Path:
        return Path(self.text)

    @property
    def name(self) -> str:
        """What the model is called: its text, without the host and the namespace of Ollama's library."""
        return _DEFAULTS.sub("", self.text, count=1) if self.kind is NameKind.NAME else self.text

    @property
    def key(self) -> str:
        """A key for comparisons: names ignore case, paths and URLs do not."""
        return self.name.casefold() if self.kind is NameKind.NAME else self.text

    @classmethod
    def parse(cls, text: str) -> "ModelRef":
        """Raises ValidationError if `text` is not a valid model name."""
        text = _without_address(text)
        if is_url(text):
            return cls(NameKind.URL, _checked_url(text))
        if is_path(text):
            return cls(NameKind.PATH, absolute(text))
        match = _match(text)
        if match is None:
            raise ValidationError(
                f"{_shown(text)} is not a valid model name",
                "A name looks like model, model:tag or user/model:tag; a file path ends in .gguf or starts with ./",
            )
        if match.re is _HUB_NAME:
            return cls(NameKind.NAME, hub_name(_repository(match), match["tag"] or DEFAULT_TAG))
        return cls(NameKind.NAME, text if match["tag"] else f"{text}:{DEFAULT_TAG}")


def origins(ref: ModelRef) -> tuple[Origin, ...]:
    """Where to look for a model of that name, in order; empty for a path.

    >>> origins(ModelRef.parse("hf.co/Qwen/Qwen3-8B-GGUF:q5_k_m"))
    (HubOrigin(repository='Qwen/Qwen3-8B-GGUF', quant='Q5_K_M', file=''),)
    >>> [type(origin).__name__ for origin in origins(ModelRef.parse("user/tiny"))]
    ['HubOrigin', 'RegistryOrigin']
    >>> [type(origin).__name__ for origin in origins(ModelRef.parse("gpt2"))]  # the hub has old models without an owner
    ['RegistryOrigin', 'HubOrigin']
    """
    if ref.kind is NameKind.URL:
        return (UrlOrigin(ref.text),)
    match = _match(ref.text) if ref.kind is NameKind.NAME else None
    if match is None:
        return ()
    host, namespace, tag = match["host"], match["namespace"], match["tag"] or DEFAULT_TAG
    if match.re is _HUB_NAME:
        return (_hub(_repository(match), tag),)
    if host and host.lower() == OLLAMA_HOST:
        host = OLLAMA_HOST
    elif host and not namespace and ":" not in host and host.lower() not in DOCKER_HOSTS:
        host, namespace = None, host  # in `a/b` the first part is a namespace, as in Ollama
    if host and host.lower() in DOCKER_HOSTS:
        host, namespace = DOCKER_HOSTS[0], namespace or OLLAMA_NAMESPACE
    if namespace and namespace.lower() == OLLAMA_NAMESPACE and host in (None, OLLAMA_HOST):
        host, namespace = OLLAMA_HOST, OLLAMA_NAMESPACE
    registry = RegistryOrigin(
        host=host or OLLAMA_HOST, namespace=namespace or OLLAMA_NAMESPACE, model=match["model"], tag=tag
    )
    if host:
        return (registry,)
    if namespace:
        return _hub(f"{namespace}/{match['model']}", tag), registry
    return registry, _hub(match["model"], tag)


def hub_origin(ref: ModelRef) -> HubOrigin | None:
    """The Hugging Face origin of a name, if it has one."""
    return next((origin for origin in origins(ref) if isinstance(origin, HubOrigin)), None)


def hub_name(repository: str, tag: str) -> str:
    """The canonical name of a repository's model, with the quantization in llama.cpp's spelling.

    >>> hub_name("Qwen/Qwen3-8B-GGUF", "q4_k_m"), hub_name("a/b", "fp16"), hub_name("a/b", "x/m.gguf")
    ('hf.co/Qwen/Qwen3-8B-GGUF:Q4_K_M', 'hf.co/a/b:F16', 'hf.co/a/b:x/m.gguf')
    """
    quantization = quantization_of(f"{tag}.gguf") if QUANTIZATION.fullmatch(tag) else None
    return f"{HUB_HOST}/{repository}:{quantization or tag}"


def hub_page(path: str) -> str:
    """The name of what a page of the hub shows, by its path; "" for other paths, such as those of the files themselves.

    >>> hub_page("a/b/blob/main/x%20y.gguf?show_file_info=x"), hub_page("a/b/tree/main"), hub_page("a/b/resolve/main/x")
    ('hf.co/a/b:x y.gguf', 'hf.co/a/b', '')
    """
    match = _HUB_PAGE.fullmatch(path)
    if match is None:
        return ""
    file = unquote(match["file"] or "")
    return f"{HUB_HOST}/{match['repository']}" + (f":{file}" if file else "")


def hub_file(path: str) -> str:
    """The name of the model in a file of the hub, by the path of the file's own address; "" for other paths.

    >>> hub_file("a/b/resolve/main/x%20y.gguf?download=true"), hub_file("a/b/resolve/main/config.json")
    ('hf.co/a/b:x y.gguf', '')
    """
    match = _HUB_RESOLVED.fullmatch(path)
    return f"{HUB_HOST}/{match['repository']}:{unquote(match['file'])}" if match else ""


def spellings(ref: ModelRef) -> tuple[str, ...]:
    """The keys of all names that a user may use for the model, those of the whole repository last.

    >>> spellings(ModelRef.parse("hf.co/a/b:Q8_0"))
    ('hf.co/a/b:q8_0', 'a/b:q8_0', 'hf.co/a/b:latest', 'a/b:latest')
    """
    origin = hub_origin(ref)
    if origin is None or not is_hub_name(ref.text):
        return (ref.key,)
    whole = f"{HUB_HOST}/{origin.repository}:{DEFAULT_TAG}".casefold()
    keys = (spelling for key in (ref.key, whole) for spelling in (key, key.removeprefix(f"{HUB_HOST}/")))
    return tuple(dict.fromkeys(keys))


def is_hub_name(text: str) -> bool:
    return text.casefold().startswith(tuple(f"{host}/" for host in HUB_HOSTS))


def is_path(text: str) -> bool:
    if is_url(text) or is_hub_name(text):
        return False
    return text.startswith((".", "~", "/", "\\")) or text.lower().endswith(".gguf") or _is_windows_path(text)


def is_url(text: str) -> bool:
    return text.lower().startswith(("https://", "http://"))


def absolute(text: str) -> str:
    """A path made absolute, so that it is valid in any process; a name unchanged."""
    return os.path.abspath(os.path.expanduser(text)) if is_path(text) else text


def _without_address(text: str) -> str:
    """A name for an address or page of the hub or of Ollama's library; other texts unchanged."""
    if _PAGES.match(text):
        text = _PAGE_END.sub("", text)
    for pattern, start in _ADDRESSES:
        if match := pattern.match(text):
            text = start + text[match.end() :]
    if match := _HUB_FILE.fullmatch(text):
        return f"{match['repository']}:{match['file']}"
    match = _HUB_ADDRESS.match(text)
    if match and (name := hub_page(text[match.end() :])):
        return name
    return _HUB_REVISION.sub(r"\1resolve/", f"https://{text}" if _HUB_BARE.match(text) else text)


def _match(text: str) -> re.Match[str] | None:
    match = _HUB_NAME.fullmatch(text)
    if match is None:
        match = _NAME.fullmatch(text)
        # Repositories of registries may have more parts; elsewhere that would be a path with a forgotten start.
        is_deep = match is not None and "/" in (match["namespace"] or "")
        return None if match and is_deep and not _is_host(match["host"]) else match
    return match if _stays_inside(match["tag"] or "") else None


def _is_host(text: str) -> bool:
    return "." in text or ":" in text or text.lower() == "localhost"


def _repository(match: re.Match[str]) -> str:
    return f"{match['namespace']}/{match['model']}" if match["namespace"] else match["model"]


def _stays_inside(file: str) -> bool:
    return file.isprintable() and not any(part in ("", ".", "..") for part in file.split("/")) if file else True


def _hub(repository: str, tag: str) -> HubOrigin:
    if "/" in tag or tag.lower().endswith(_FILE_SUFFIXES):
        return HubOrigin(repository, file=tag)
    return HubOrigin(repository, quant="" if tag.lower() == DEFAULT_TAG else tag.upper())


def _checked_url(text: str) -> str:
    """Raises ValidationError for an invalid file URL, or one with a password, which would be stored."""
    try:
        parts = urlsplit(text)
        is_good = bool(parts.hostname and parts.path.strip("/")) and parts.username is None and (parts.port or 1) > 0
    except ValueError:
        is_good = False
    if not is_good or not text.isascii() or not text.isprintable() or " " in text or len(text) > LONGEST_URL:
        raise ValidationError(
            f"{_shown(text)} is not the URL of a model's file",
            "Write it as https://host/folder/model.gguf, without a user name; percent-encode special characters (%20).",
        )
    return text


def _shown(text: str) -> str:
    return repr(text if len(text) <= 200 else f"{text[:200]}…")


def _is_windows_path(text: str) -> bool:
    return re.match(r"[A-Za-z]:[\\/]", text) is not None
