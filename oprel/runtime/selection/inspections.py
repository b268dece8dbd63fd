"""What is known of a model's files before anything is loaded: their format, their faults, and who can serve them."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace

from pydantic import JsonValue, TypeAdapter

from oprel.core.config import Config
from oprel.core.exceptions import InvalidModelError
from oprel.formats.checks.findings import Finding
from oprel.formats.checks.validation import Inspection
from oprel.formats.gguf import GGUFFile, read_gguf
from oprel.formats.model_info import ModelInfo
from oprel.runtime.selection.engines import rank_engines
from oprel.runtime.selection.routing import Route
from oprel.telemetry.hardware.probing import probe
from oprel.wire.inspection import InspectionEngine, InspectionFinding, ModelInspection

UNSOUND = "its files must be repaired first"
LONGEST_VALUE = 200  # characters of a value of the header; templates and licenses are longer


def engines_for(inspection: Inspection, config: Config) -> Sequence[Route]:
    """Every engine, best first; none serves a model with errors. Blocks to look at the hardware."""
    engines = rank_engines(inspection.info, probe(), config) if inspection.info else ()
    if inspection.errors:  # never suggest loading it
        return [replace(route, score=0.0, reasons=(UNSOUND, *route.reasons)) for route in engines]
    return engines


def described(inspection: Inspection, engines: Sequence[Route]) -> ModelInspection:
    """The whole inspection, for programs. Blocks to read the header."""
    info, header = inspection.info, _header(inspection)
    return ModelInspection(
        path=str(inspection.path),
        valid=info is not None and not inspection.errors,
        format=info.format if info else None,
        format_version=header.version if header else None,
        tensors=len(header.tensors) if header else None,
        tokenizer=_text(header.metadata.get("tokenizer.ggml.model")) if header else None,
        metadata=_short_values(header) if header else {},
        capabilities=list(info.capabilities) if info else [],
        model=_model(info) if info else None,
        findings=[_finding(finding) for finding in inspection.findings],
        engines=[
            InspectionEngine(
                name=route.backend.name, score=route.score, reasons=list(route.reasons), installed=route.installed
            )
            for route in engines
        ],
    )


def _model(info: ModelInfo) -> dict[str, JsonValue]:
    fields = TypeAdapter(dict[str, JsonValue]).validate_json(json.dumps(asdict(info)))
    return {**fields, "confidence": round(info.confidence, 3)}


def _header(inspection: Inspection) -> GGUFFile | None:
    if inspection.info and inspection.info.format == "gguf" and inspection.path.is_file():
        with suppress(InvalidModelError, OSError):
            return read_gguf(inspection.path)
    return None


def _short_values(header: GGUFFile) -> dict[str, JsonValue]:
    """The numbers and short texts; lists, such as vocabularies, are left out."""
    return {
        key: value
        for key, value in header.metadata.items()
        if isinstance(value, int | float) or (isinstance(value, str) and len(value) <= LONGEST_VALUE)
    }


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _finding(finding: Finding) -> InspectionFinding:
    return InspectionFinding(
        code=finding.code,
        severity=finding.severity.value,
        path=str(finding.path),
        what=finding.what,
        step=finding.step,
    )
