"""Wire types of the inspection of a model's files."""

from pydantic import JsonValue

from oprel.api_models import RequestBody, Wire


class InspectRequest(RequestBody):
    """`path`: a file or folder, absolute."""

    path: str = ""


class InspectionFinding(Wire):
    """`severity`: "error" (no engine can or should use it), "warning" or "note". `what` and `step` are sentences."""

    code: str
    severity: str
    path: str
    what: str
    step: str


class InspectionEngine(Wire):
    """`score`: from 0, it cannot serve the model, to 1."""

    name: str
    score: float
    reasons: list[str]
    installed: bool


class ModelInspection(Wire):
    """What is at `path`. `valid`: there is no error. `format_version` is that of GGUF.

    `tensors`: how many. `tokenizer`: its kind, such as "gpt2". `metadata`: the short values of the header.
    `model`: what was found out about it; None if it is not a model.
    """

    path: str
    valid: bool
    format: str | None = None
    format_version: int | None = None
    tensors: int | None = None
    tokenizer: str | None = None
    metadata: dict[str, JsonValue] = {}
    capabilities: list[str] = []
    model: dict[str, JsonValue] | None = None
    findings: list[InspectionFinding]
    engines: list[InspectionEngine]
