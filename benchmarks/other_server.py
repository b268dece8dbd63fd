"""A server of Ollama's API, beside which oprel is measured."""

import hashlib
from urllib.parse import urlsplit

import httpx

from benchmarks.models import BenchModel
from benchmarks.processes import ANSWER_SECONDS


class OtherServer:
    """The server at a URL. Models are installed on it under names that begin with `oprel-bench-`."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=ANSWER_SECONDS)
        parts = urlsplit(url)
        self.address = f"{parts.hostname}:{parts.port or 11434}"

    def install(self, model: BenchModel) -> str:
        """The model's name there. Raises httpx.HTTPStatusError if the server refuses it."""
        name = f"oprel-bench-{model.label}"
        content = model.file.read_bytes()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self._http.post(f"/api/blobs/{digest}", content=content).raise_for_status()
        body = {"model": name, "files": {model.file.name: digest}, "stream": False}
        self._http.post("/api/create", json=body).raise_for_status()
        self._http.post("/api/generate", json={"model": name, "keep_alive": -1}).raise_for_status()
        return name
