"""A client that a published generator makes of `/openapi.json` calls every route, with the requests of `tests/wire`."""

import importlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import httpx
import pytest

from tests.conftest import DEADLINE, RunningDaemon, lasting_daemon
from tests.fixtures.gguf_parts import write_reranker
from tests.wire.exchanges import EXCHANGES, RERANKER, Exchange

pytestmark = pytest.mark.fuzz

PACKAGE = "generated_oprel"
WITHOUT_JSON = {"ollama_root", "ollama_has_blob", "ollama_copy", "ollama_delete", "oprel_metrics", "oprel_verify"}


@dataclass(frozen=True)
class Call:
    """`path`: as described, with the names of its parameters."""

    method: str
    path: str
    operation: dict[str, Any]

    @property
    def exchange(self) -> Exchange:
        """A recorded request of this operation, of which the answer is no stream, and no error if there is another."""
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+)", re.escape(self.path))
        of_this = {
            name: exchange
            for name, exchange in EXCHANGES.items()
            if exchange.is_described
            and exchange.request.method == self.method
            and re.fullmatch(pattern, exchange.request.path.partition("?")[0])
        }
        return of_this[min(of_this, key=lambda name: ("streamed" in name, "error" in name, name))]

    @property
    def parameters(self) -> dict[str, str]:
        """What the recorded request has in its path, its query and its headers, under the client's names."""
        request = self.exchange.request
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+)", re.escape(self.path))
        in_path = re.fullmatch(pattern, urlsplit(request.path).path)
        assert in_path
        values = {**in_path.groupdict(), **dict(parse_qsl(urlsplit(request.path).query)), **request.headers}
        return {name.replace("-", "_"): unquote(value) for name, value in values.items()}


@pytest.fixture(scope="module")
def daemon(tiny: Path) -> Iterator[RunningDaemon]:
    with lasting_daemon(tiny) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def document(daemon: RunningDaemon) -> Any:
    return httpx.get(f"{daemon.url}/openapi.json", timeout=DEADLINE, trust_env=False).json()


@pytest.fixture(scope="module")
def generated(document: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the client's package, which can be imported."""
    folder = tmp_path_factory.mktemp("generated")
    (folder / "openapi.json").write_text(json.dumps(document))
    (folder / "settings.yaml").write_text("post_hooks: []\n")  # they would only format it
    program = Path(sys.executable).parent / "openapi-python-client"
    out = ["--meta", "none", "--output-path", str(folder / PACKAGE), "--config", str(folder / "settings.yaml")]
    made = subprocess.run(
        [program, "generate", "--path", str(folder / "openapi.json"), *out], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stdout + made.stderr
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(folder)
        yield folder / PACKAGE


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reranker(tmp_path_factory.mktemp("models") / "reranker.gguf", "sun")


def calls_of(document: Any) -> list[Call]:
    return [
        Call(method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def module_of(generated: Path, call: Call) -> ModuleType:
    (file,) = {file.stem: file for file in generated.glob(f"api/*/{call.operation['operationId']}.py")}.values()
    return importlib.import_module(f"{PACKAGE}.api.{file.parent.name}.{file.stem}")


def parameters_of(module: ModuleType, call: Call) -> dict[str, str]:
    """The client has a name of Python's own with a `_`, and no header such as Origin."""
    accepted = inspect.signature(module.sync_detailed).parameters
    named = {name if name in accepted else f"{name}_": value for name, value in call.parameters.items()}
    return {name: value for name, value in named.items() if name in accepted}


def body_of(module: ModuleType, call: Call, reranker: Path) -> dict[str, Any]:
    """The recorded body as the client's own type, if the operation has one."""
    recorded = call.exchange.request.body
    if "requestBody" not in call.operation:
        return {}
    if isinstance(recorded, bytes):
        types = importlib.import_module(f"{PACKAGE}.types")
        return {"body": types.File(payload=BytesIO(recorded))}
    fields = {**(recorded or {}), **({"model": str(reranker)} if (recorded or {}).get("model") == RERANKER else {})}
    kind = inspect.signature(module.sync_detailed).parameters["body"].annotation
    if isinstance(kind, str) or not hasattr(kind, "from_dict"):
        (kind,) = [each for each in getattr(kind, "__args__", ()) if hasattr(each, "from_dict")]
    needed = {"model": "nonesuch"} if "model" in kind.__annotations__ else {}
    return {"body": kind.from_dict({**needed, **fields})}


@pytest.mark.filterwarnings("ignore:invalid decimal literal")  # `0and` in the client's own code
def test_the_generated_client_calls_every_route(
    document: Any, generated: Path, daemon: RunningDaemon, reranker: Path
) -> None:
    package = importlib.import_module(PACKAGE)
    made = package.Client(daemon.url, timeout=httpx.Timeout(DEADLINE), httpx_args={"trust_env": False})
    with made as client, httpx.Client(base_url=daemon.url, timeout=DEADLINE, trust_env=False) as plain:
        for call in calls_of(document):
            module, exchange = module_of(generated, call), call.exchange
            for request in exchange.before:
                plain.request(request.method, request.path, json=request.body)
            response = module.sync_detailed(
                client=client, **parameters_of(module, call), **body_of(module, call, reranker)
            )
            for request in exchange.after:
                plain.request(request.method, request.path, json=request.body)
            assert str(response.status_code.value) in call.operation["responses"], call
            assert response.status_code.value != 500, response.content
            assert response.parsed is not None or call.operation["operationId"] in WITHOUT_JSON, call
