"""Logins for registries, where Docker and Podman keep them: in `config.json`, `auth.json`, or a credential helper.

Source: docs.docker.com, "docker login", "Credential helper protocol"; containers-auth.json(5).
"""

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from oprel.core.configuration.environment import tool_environment
from oprel.core.names import DOCKER_HOSTS

HELPER_SECONDS = 30.0  # a helper may ask the user's keyring
LONGEST_ANSWER = 64 * 1024  # bytes
OF_IDENTITY = "<token>"  # the user's name where the secret is an identity token
DOCKER_KEYS = ("https://index.docker.io/v1/", *DOCKER_HOSTS)
_HELPER = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Login:
    """The credentials for one registry. `identity`: a token in place of a password, such as Azure's."""

    user: str
    password: str = field(repr=False)
    identity: str = field(default="", repr=False)

    @property
    def header(self) -> str:
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def find_login(files: Sequence[Path], host: str, repository: str) -> Login | None:
    """The login for a repository in the first of these files that has one; None without one. Blocks.

    Podman's files may have one for each namespace: the closest counts.
    """
    keys = list(_keys(host, repository))
    for file in files:
        content = _content(file)
        for key in keys:
            if login := _helped(content, key) or _written(content, key):
                return login
    return None


def _keys(host: str, repository: str) -> Iterator[str]:
    """What a file may call the registry, the closest first."""
    parts = repository.split("/")
    yield from (f"{host}/{'/'.join(parts[:count])}" for count in range(len(parts), 0, -1))
    if host in DOCKER_HOSTS:
        yield from DOCKER_KEYS
    else:
        yield from (host, f"https://{host}", f"https://{host}/v1/", f"https://{host}/v2/")


def _content(file: Path) -> Mapping[str, object]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _written(content: Mapping[str, object], key: str) -> Login | None:
    """A login in the file itself."""
    entries = content.get("auths")
    entry = entries.get(key) if isinstance(entries, dict) else None
    text = entry.get("auth") if isinstance(entry, dict) else None
    try:
        user, _, password = base64.b64decode(text or "", validate=True).decode().partition(":")
    except (ValueError, TypeError):
        return None
    identity = entry.get("identitytoken") if isinstance(entry, dict) else None
    if isinstance(identity, str) and identity:
        return Login(user, "", identity)
    return Login(user, password) if user and password else None


def _helped(content: Mapping[str, object], key: str) -> Login | None:
    """A login that a credential helper keeps. `credsStore` has those of all registries that `auths` lists."""
    helpers, entries = content.get("credHelpers"), content.get("auths")
    name = helpers.get(key) if isinstance(helpers, dict) else None
    if name is None and isinstance(entries, dict) and key in entries:
        name = content.get("credsStore")
    if not isinstance(name, str) or not _HELPER.fullmatch(name):
        return None
    program = shutil.which(f"docker-credential-{name}")
    return _answered(program, key) if program else None


def _answered(program: str, key: str) -> Login | None:
    try:
        answer = subprocess.run(
            [program, "get"],
            input=key.encode(),
            capture_output=True,
            timeout=HELPER_SECONDS,
            env=tool_environment(),
            check=True,
        )
        content = json.loads(answer.stdout[:LONGEST_ANSWER])
        login = Login(content["Username"], content["Secret"])
    except (OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError):
        return None
    if not (isinstance(login.user, str) and isinstance(login.password, str)):
        return None
    return Login("", "", login.password) if login.user == OF_IDENTITY else login
