"""A build from sources: with tools of the test's in place of a compiler that takes half an hour."""

from pathlib import Path

import pytest

from oprel.core.exceptions import NoEngineError
from oprel.runtime.binaries.llama_cpp.building import RECIPES, BuildOrder, build, check_tools, patch
from oprel.runtime.binaries.llama_cpp.listing import ComputeApi, SourcePatch

CMAKE = """#!/bin/sh
echo "$@" >> {folder}/commands
[ "$1" = --build ] || exit 0
{body}
/bin/mkdir -p "$2/bin" && printf '#!/bin/sh\\n' > "$2/bin/llama-server"
"""
STEPS = "echo '[1/531] Building CXX object a.o'; echo 'a warning'; echo '[ 40%] Building'; echo '[531/531] Linking'"


def tool(folder: Path, name: str, script: str = "#!/bin/sh\n") -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(script)
    (folder / name).chmod(0o755)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All that a build for Vulkan needs, and nothing else."""
    folder = tmp_path / "tools"
    for name in ("ninja", "c++", "glslc"):
        tool(folder, name)
    tool(folder, "cmake", CMAKE.format(folder=tmp_path, body=STEPS))
    monkeypatch.setenv("PATH", str(folder))
    return folder


def order(folder: Path, api: ComputeApi) -> BuildOrder:
    return BuildOrder(
        sources=folder / "sources", work=folder / "build", log=folder / "build.log", api=api, number=11434
    )


def test_a_build_shows_how_far_it_is(tmp_path: Path, tools: Path) -> None:
    shown = list[tuple[str, int, int]]()
    program = build(order(tmp_path, "vulkan"), lambda *step: shown.append(step))
    assert program == tmp_path / "build" / "bin" / "llama-server" and program.is_file()
    configuring, building = [("configuring the build", 0, 0)], [("building", 0, 0), ("building", 1, 531)]
    assert shown == [*configuring, *building, ("building", 40, 100), ("building", 531, 531)]
    first, second = (tmp_path / "commands").read_text().splitlines()
    assert f"-S {tmp_path}/sources -B {tmp_path}/build" in first and "-DGGML_VULKAN=ON" in first
    assert second.startswith(f"--build {tmp_path}/build --target llama-server")
    assert "-DLLAMA_BUILD_NUMBER=11434" in first and not (tmp_path / "build.log").exists()


@pytest.mark.parametrize("api", RECIPES)
def test_each_api_has_its_flag(tmp_path: Path, tools: Path, api: ComputeApi) -> None:
    build(order(tmp_path, api), lambda *step: None)
    flags = {word for word in (tmp_path / "commands").read_text().split() if word.startswith("-DGGML_")}
    own = {"cuda": "CUDA", "rocm": "HIP", "vulkan": "VULKAN", "metal": "METAL"}
    assert flags == {"-DGGML_NATIVE=ON", *([f"-DGGML_{own[api]}=ON"] if api in own else [])}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (
            "echo 'a.cpp:1: error: no member named LayerSettingEXT'; echo 'ninja: build stopped'; exit 1",
            "building failed: a.cpp:1: error: no member named LayerSettingEXT ninja: build stopped",
        ),
        ("echo 'Killed'; exit 137", "building failed: Killed"),
    ],
)
def test_a_failure_names_the_error_and_the_packages(tmp_path: Path, tools: Path, body: str, why: str) -> None:
    tool(tools, "cmake", CMAKE.format(folder=tmp_path, body=body))
    with pytest.raises(NoEngineError) as caught:
        build(order(tmp_path, "vulkan"), lambda *step: None)
    assert caught.value.message == why
    assert caught.value.resolution_steps[-1] == f"The log: {tmp_path}/build.log"
    assert "error" in (tmp_path / "build.log").read_text() or "Killed" in (tmp_path / "build.log").read_text()
    assert "apt install cmake ninja-build g++ glslc libvulkan-dev spirv-headers" in caught.value.resolution_steps[0]


def test_missing_tools_are_named_before_anything_else(tools: Path) -> None:
    check_tools("vulkan")
    (tools / "glslc").unlink()
    with pytest.raises(NoEngineError, match="a build for vulkan needs glslc"):
        check_tools("vulkan")


def test_patches_are_applied_once(tmp_path: Path) -> None:
    (tmp_path / "a.cpp").write_text("one\ntwo\ntwo\n")
    patch(tmp_path, [SourcePatch(file="a.cpp", find="two\n", replace="2\n")])
    assert (tmp_path / "a.cpp").read_text() == "one\n2\ntwo\n"


def test_a_patch_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.cpp").write_text("one\n")
    with pytest.raises(NoEngineError, match=r"a patch of a\.cpp does not fit"):
        patch(tmp_path, [SourcePatch(file="a.cpp", find="two\n", replace="2\n")])
