"""The examples of docs/extending.md, run."""

import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import httpx
import orjson
import pytest

from oprel.formats.model_info import ModelInfo
from oprel.runtime.backends import openai_http, registry
from oprel.runtime.backends.base import CompletionRequest, EngineLost, Sampling
from oprel.runtime.backends.translating import Translating
from oprel.runtime.routing import Candidate, route
from oprel.telemetry.hardware import Hardware
from oprel.telemetry.parts import CPU, Memory

ROOT = Path(__file__).parents[2]


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The example as a package that is installed, with its entry point."""
    text = (ROOT / "docs" / "extending.md").read_text()
    (tmp_path / "oprel_acme.py").write_text(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0])
    points = re.findall(r"```toml\n\[project\.entry-points\.\"([\w.]+)\"\]\n(.*?)```", text, re.DOTALL)[0]
    info = tmp_path / "oprel_acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: oprel-acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{points[0]}]\n{points[1].replace(chr(34), '')}")
    monkeypatch.syspath_prepend(tmp_path)
    registry.backends.cache_clear()
    yield import_module("oprel_acme")
    registry.backends.cache_clear()
    sys.modules.pop("oprel_acme")


def test_a_backend_of_another_package_is_known_and_ranked(acme: ModuleType) -> None:
    assert registry.named("acme") is acme.BACKEND
    info = ModelInfo("safetensors", "llama", "BF16", 10**9)
    hardware = Hardware(CPU(), Memory(10**11, 10**11))
    found = route(info, hardware, [Candidate(one, True) for one in registry.backends().values()])
    assert [one.backend.name for one in found if one.score] == ["vllm", "acme", "transformers"]


async def test_its_dialect_is_spoken(acme: ModuleType) -> None:
    asked, deaths = dict[str, object](), list[str]()

    def engine(request: httpx.Request) -> httpx.Response:
        asked[request.url.path] = orjson.loads(request.content)
        if request.url.path == "/encode":
            return httpx.Response(200, json={"tokens": [1]})
        return httpx.Response(500, json={"error": {"message": "worker lost"}})

    transport = Translating(httpx.MockTransport(engine), acme.BACKEND.dialect, lambda: 512, deaths.append)
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as http:
        assert await openai_http.tokenize(http, "a") == [1]
        with pytest.raises(EngineLost):
            request = CompletionRequest("a", Sampling(repeat_penalty=1.1))
            assert [chunk async for chunk in openai_http.complete(http, request)]
    sent = asked["/v1/completions"]
    assert isinstance(sent, dict) and sent["repetition"] == 1.1 and deaths == ["worker lost"]
