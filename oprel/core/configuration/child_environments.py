"""Which environment variables the programs that oprel starts get. Pure.

An engine parses files of strangers in C++, so it gets what it needs and nothing else: no key, no token, no address with
a password. Programs that the user trusts with those, such as pip and compilers, get all but what is oprel's own.
"""

import os
import re
from collections.abc import Iterable, Mapping

from oprel.core.exceptions import ConfigError

# Variables by name, or by their beginning where a program or a library has many.
SYSTEM = """
    PATH HOME USER LOGNAME LANG LANGUAGE LC_* LOCPATH LOCALE_ARCHIVE TZ TZDIR TMPDIR TMP TEMP TERM NO_COLOR XDG_*
    LD_* DYLD_* NIX_LD* GLIBC_TUNABLES MALLOC_* MIMALLOC_* TCMALLOC_* ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS
    PYTHON* VIRTUAL_ENV CONDA_PREFIX CONDA_DEFAULT_ENV RUST_LOG RUST_BACKTRACE
"""
THREADS = "OMP_* GOMP_* KMP_* MKL_* OPENBLAS_* GOTO_NUM_THREADS BLIS_* VECLIB_* NUMEXPR_* RAYON_NUM_THREADS ARMPL_*"
GPUS = """
    CUDA_* CUDNN_* CUBLAS_* NVIDIA_* NCCL_* HIP_* ROCR_* HSA_* ROCM_* ROCBLAS_* HIPBLASLT_* MIOPEN_* RCCL_*
    GPU_DEVICE_ORDINAL GPU_MAX_* AMD_* ONEAPI_* SYCL_* ZE_* ZES_* UR_* NEO_* IGC_* OCL_* OPENCL_* DNNL_* ONEDNN_* CCL_*
    VK_* VULKAN_* MESA_* GALLIUM_* LIBGL_* LP_* RADV_* ANV_* NVK_* DRI_PRIME __NV_* __GLX_* __EGL_* MTL_* METAL_*
    MUSA_* MTHREADS_* ASCEND_* GLOO_*
"""
ENGINES = """
    GGML_* VLLM_* TORCH_* TORCHINDUCTOR_* PYTORCH_* TRITON_* FLASHINFER_* XFORMERS_* RAY_* TRANSFORMERS_* TOKENIZERS_*
    SAFETENSORS_* MLX_* MLC_* TVM_* EXLLAMA_*
"""
ALLOWED = frozenset(f"{SYSTEM} {THREADS} {GPUS} {ENGINES}".split())
SECRET = re.compile(r"(^|_)(\w*KEY|\w*TOKEN|\w*SECRET|PASS\w*|CREDENTIALS?|AUTH)(_|$)", re.IGNORECASE)
# Vulkan's layers are named VK_LAYER_AUTHOR_NAME and have variables of their own, NAME_….
LAYERS, LAYER = "VK_INSTANCE_LAYERS", re.compile(r"VK_LAYER_[^_]+_(\w+)")
# Number GPUs as the hardware does; CUDA's default puts the fastest first.
DEFAULTS = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
MODULE_PATH = "PYTHONPATH"
# Settings that are oprel's alone, or would be read in place of an option that oprel passes.
OWN_PREFIXES = ("LLAMA_", "HF_", "OPREL_")


def for_engines(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of an engine.

    >>> for_engines({"PATH": "/bin", "OPENAI_API_KEY": "x", "NVIDIA_API_KEY": "x", "PYTHONPATH": "/a::/b"})
    {'CUDA_DEVICE_ORDER': 'PCI_BUS_ID', 'PATH': '/bin', 'PYTHONPATH': '/a:/b'}
    """
    layers = [f"{layer.upper()}_*" for layer in LAYER.findall(environ.get(LAYERS, ""))]
    allowed = [name for name in _matching(environ, ALLOWED.union(layers)) if not SECRET.search(name)]
    return DEFAULTS | _module_path({name: environ[name] for name in allowed})


def for_trusted_programs(environ: Mapping[str, str], service_variables: Iterable[str]) -> dict[str, str]:
    """The variables of pip, compilers and the like.

    >>> for_trusted_programs({"PIP_INDEX_URL": "https://me:x@box", "OPREL_HOME": "/h"}, ())
    {'PIP_INDEX_URL': 'https://me:x@box', 'PYTHONSAFEPATH': '1'}
    """
    unwanted = (*OWN_PREFIXES, *service_variables)
    kept = {name: value for name, value in environ.items() if not name.startswith(unwanted)}
    # Nothing in the current folder is imported, by pip's own children either.
    return _module_path(kept) | {"PYTHONSAFEPATH": "1"}


def requested(text: str, environ: Mapping[str, str]) -> dict[str, str]:
    """What the setting `engine_variables` adds. Raises ConfigError.

    >>> requested("MY_* DEBUG='a b' ABSENT", {"MY_KEY": "1", "OTHER": "2"})
    {'MY_KEY': '1', 'DEBUG': 'a b'}
    """
    import shlex

    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"engine_variables: {error}", "Close what is quoted.") from None
    values = dict(word.split("=", 1) for word in words if "=" in word)
    return {name: environ[name] for name in _matching(environ, frozenset(words))} | values


def _matching(environ: Iterable[str], names: frozenset[str]) -> list[str]:
    """The variables that the names, or beginnings with a star, stand for."""
    beginnings = tuple(name[:-1] for name in names if name.endswith("*"))
    return [name for name in environ if name in names or name.startswith(beginnings)]


def _module_path(variables: dict[str, str]) -> dict[str, str]:
    """The variables without empty entries in Python's list of folders: they would mean the current folder."""
    if MODULE_PATH not in variables:
        return variables
    folders = [os.path.abspath(entry) for entry in variables[MODULE_PATH].split(os.pathsep) if entry]
    return variables | {MODULE_PATH: os.pathsep.join(folders)}
