"""The steps of the Dockerfile, run in a bare Debian with chroot: there is no engine for containers on these machines.

What this cannot show: the layers, `docker run`'s own options, and GPUs. The build argument GPU stays empty.
"""

import fnmatch
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import DEADLINE, eventually
from tests.fixtures.debian_packages import unpacked
from tests.fixtures.documents import ROOT
from tests.packaging.conftest import run

pytestmark = [
    pytest.mark.packages,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.getuid() != 0, reason="chroot needs root"),
]

# `python:3.12-slim` is this with another Python.
PACKAGES = "ca-certificates,python3-venv"
NETWORK = ("etc/resolv.conf", "etc/hosts", "etc/pip.conf", "etc/ssl/certs/ca-certificates.crt")


@dataclass
class Stage:
    """One stage of the image as far as it is built: a folder, its variables, user and work folder."""

    root: Path
    variables: dict[str, str] = field(default_factory=dict)
    user: str = "root"
    folder: str = "/"
    metadata: dict[str, str] = field(default_factory=dict)

    def command(self, *words: str, **variables: str) -> list[str]:
        """In namespaces of its own, so that no process and no mount of it stays."""
        own = {"PATH": os.defpath + ":/usr/local/bin:/usr/sbin:/sbin", **self.variables, **variables}
        inner = f"mount -t proc proc {self.root}/proc && exec chroot --userspec={self.user}:{self.user} {self.root} "
        assigned = [f"{name}={value}" for name, value in own.items()]
        home = {"HOME": "/root" if self.user == "root" else "/var/lib/oprel"}
        script = 'cd "$0" && exec "$@"'
        words = ("env", "-i", *assigned, f"HOME={home['HOME']}", "sh", "-c", script, self.folder, *words)
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", inner + shlex.join(words)]


def instructions() -> Iterator[tuple[str, str]]:
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, rest = line.partition(" ")
            yield name, rest


def is_sent(path: Path) -> bool:
    """Whether `.dockerignore` leaves the file in: the last pattern that matches it or a folder above it decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!").removeprefix("**/")
        names = [str(part) for part in (path, *path.parents[:-1])]
        if "**/" in line:
            names = [*path.parts]
        if any(name.count("/") == pattern.count("/") and fnmatch.fnmatchcase(name, pattern) for name in names):
            sent = line.startswith("!")
    return sent


def copy_context(target: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    for path in filter(is_sent, map(Path, tracked.stdout.splitlines())):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, target / path)


@pytest.fixture(scope="session")
def debian() -> Path:
    """A bare Debian with Python, of the mirror that this machine uses. It stays for the next time."""
    root = Path(sys.prefix) / "bare-debian"
    if root.exists():
        return root
    targets = run("apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)", "Created-By: Packages")
    mirror, suite, _ = next(line.split() for line in targets.stdout.splitlines() if line.endswith(" main"))
    program, variables = shutil.which("debootstrap"), dict[str, str]()
    if program is None:
        package = unpacked("debootstrap")
        program = str(package / "usr/sbin/debootstrap")
        variables["DEBOOTSTRAP_DIR"] = str(package / "usr/share/debootstrap")
    unfinished = root.with_name("bare-debian.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    run(program, "--variant=minbase", f"--include={PACKAGES}", suite, unfinished, mirror, **variables)
    for name in NETWORK:
        if Path("/", name).exists():
            shutil.copy(Path("/", name), unfinished / name)
    return unfinished.rename(root)


@pytest.fixture(scope="session")
def image(debian: Path, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The last stage of the image, after all of its steps."""
    folder, stages, stage = tmp_path_factory.mktemp("image"), dict[str, Stage](), Stage(debian)
    for name, rest in instructions():
        match name:
            case "FROM":
                alias = rest.partition(" AS ")[2] or "last"
                stage = stages[alias] = Stage(folder / alias)
                run("cp", "-a", "--reflink=auto", debian, stage.root)
            case "ARG":
                variable, _, value = rest.partition("=")
                stage.variables[variable] = value.strip('"')
            case "ENV":
                stage.variables |= dict(word.split("=", 1) for word in shlex.split(rest))
            case "WORKDIR":
                stage.folder = rest
                (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "USER":
                stage.user = rest
            case "COPY":
                copied(rest, stage, stages)
            case "RUN":
                pip = {key: value for key, value in os.environ.items() if key in ("PIP_CERT", "PIP_INDEX_URL")}
                run(*stage.command("sh", "-c", rest, **pip))
            case _:
                stage.metadata[name] = rest
    return stage


def copied(rest: str, stage: Stage, stages: dict[str, Stage]) -> None:
    *options, source, target = rest.split()
    destination = stage.root / target.lstrip("/")
    if options:
        origin = stages[options[0].removeprefix("--from=")]
        run("cp", "-a", origin.root / source.lstrip("/"), destination)
    else:
        copy_context(destination)


def started(image: Stage, port: int) -> "subprocess.Popen[bytes]":
    command = json.loads(image.metadata["CMD"])
    return subprocess.Popen(image.command(*command, OPREL_SERVER_PORT=str(port)), stdin=subprocess.DEVNULL)


def is_healthy(image: Stage, process: "subprocess.Popen[bytes]") -> bool:
    """What the engine for containers would run inside."""
    check = json.loads(re.search(r"CMD (\[.*\])", image.metadata["HEALTHCHECK"])[1])  # type: ignore[index]
    return subprocess.run(image.command(*check), capture_output=True).returncode == 0


def test_only_what_the_image_is_made_of_is_sent() -> None:
    sent = [Path(name) for name in ("oprel/cli/main.py", "pyproject.toml", "tools/packaging/hatch_build.py")]
    kept = [Path(name) for name in ("tests/conftest.py", "tools/guide/data.py", ".git/HEAD", "oprel/__pycache__/x.pyc")]
    assert [is_sent(path) for path in sent] == [True] * 3
    assert [is_sent(path) for path in kept] == [False] * 4


def test_the_image_serves_as_its_own_user_is_healthy_and_stops(image: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    assert image.user == "oprel"
    process = started(image, port)
    try:
        eventually(lambda: process.poll() is not None or is_healthy(image, process))
        assert process.poll() is None
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/version", timeout=DEADLINE) as answer:
            assert answer.status == 200
        inside = subprocess.run(
            image.command("oprel", "run", "guide", "--option", "num_predict=30", "hello"),
            capture_output=True,
            text=True,
        )
        assert inside.returncode == 0 and inside.stdout.strip(), inside.stderr
        owners = {file.stat().st_uid for file in (image.root / "var/lib/oprel").rglob("*")}
        passwd = (image.root / "etc/passwd").read_text()
        assert owners == {int(re.search(r"^oprel:x:(\d+):", passwd, re.MULTILINE)[1])}  # type: ignore[index]
        lock = (image.root / "var/lib/oprel/run/daemon.lock").read_text()
        assert lock.isdecimal()
    finally:
        for child in children(process.pid):
            os.kill(child, signal.SIGTERM)
        status = process.wait(DEADLINE)
    assert status == 0
    assert not is_healthy(image, process)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
