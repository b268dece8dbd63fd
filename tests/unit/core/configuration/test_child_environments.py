"""Which variables engines get, and which pip and compilers."""

import pytest

from oprel.core.configuration.child_environments import for_engines, for_trusted_programs

SECRETS = (
    *("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
    *("HF_TOKEN", "DATABASE_URL", "KUBECONFIG", "SSH_AUTH_SOCK", "DOCKER_AUTH_CONFIG", "https_proxy", "PIP_INDEX_URL"),
    *("NVIDIA_API_KEY", "VLLM_API_KEY", "CUDA_ACCESS_TOKEN", "LD_PASSWORD", "RAY_AUTH_MODE", "XDG_SECRET"),
    *("DBUS_SESSION_BUS_ADDRESS", "NOTIFY_SOCKET", "OPREL_HOME", "LLAMA_ARG_MODEL"),
)
NEEDED = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "XDG_CACHE_HOME", "LD_LIBRARY_PATH", "VIRTUAL_ENV"),
    *("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES", "ZE_AFFINITY_MASK", "VK_ICD_FILENAMES"),
    *("OMP_NUM_THREADS", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "VLLM_CPU_KVCACHE_SPACE", "TOKENIZERS_PARALLELISM"),
)


@pytest.mark.parametrize("name", SECRETS)
def test_an_engine_gets_no_secret(name: str) -> None:
    assert name not in for_engines({name: "value"})


@pytest.mark.parametrize("name", NEEDED)
def test_an_engine_gets_what_it_needs(name: str) -> None:
    assert for_engines({name: "/value"})[name] == "/value"


def test_a_vulkan_layer_that_is_switched_on_gets_its_own_variables() -> None:
    variables = {"SMALL_CARD_DIR": "/state", "SMALL_CARD_KEY": "x", "OTHER_DIR": "/other"}
    layers = "VK_LAYER_KHRONOS_validation:VK_LAYER_OPREL_small_card"
    engine = for_engines({**variables, "VK_INSTANCE_LAYERS": layers})
    assert engine["SMALL_CARD_DIR"] == "/state" and not {"SMALL_CARD_KEY", "OTHER_DIR"} & engine.keys()
    assert not variables.keys() & for_engines(variables).keys()


@pytest.mark.parametrize(("given", "passed"), [(":", ""), ("/a::/b", "/a:/b"), ("/a", "/a")])
def test_no_program_looks_for_modules_in_the_current_folder(given: str, passed: str) -> None:
    for variables in (for_engines({"PYTHONPATH": given}), for_trusted_programs({"PYTHONPATH": given}, ())):
        assert variables["PYTHONPATH"] == passed


def test_pip_keeps_the_settings_that_the_user_has_for_it() -> None:
    user = {"PIP_INDEX_URL": "https://me:secret@box", "https_proxy": "http://proxy", "SSH_AUTH_SOCK": "/agent"}
    pip = for_trusted_programs({**user, "OPREL_HOME": "/home", "NOTIFY_SOCKET": "@x"}, ("NOTIFY_SOCKET",))
    assert pip == {**user, "PYTHONSAFEPATH": "1"}
