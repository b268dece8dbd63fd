"""`oprel inspect MODEL`: what a model's files are, what is the matter with them, and which engines can serve it."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from oprel.cli.options import add_address, config_from
from oprel.cli.screen import render
from oprel.core.exceptions import InvalidModelError, ModelNotFoundError

if TYPE_CHECKING:
    from oprel.core.config import Config
    from oprel.core.names import HubOrigin
    from oprel.formats.findings import Finding
    from oprel.formats.validation import Inspection
    from oprel.runtime.selection.routing import Route

UNSOUND = "its files must be mended first"
TITLES = ("ENGINE", "SCORE", "WHY")


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("inspect", help="examine a model's files, and say which engines can serve it")
    parser.add_argument("model", help="a name, hf.co/ORG/REPO[:QUANT], or the path of a file or folder")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.runtime.selection.engines import rank_engines
    from oprel.telemetry.hardware.probing import probe

    config = config_from(args)
    found = _inspected(args.model, config)
    engines = rank_engines(found.info, probe(), config) if found.info else ()
    if found.errors:  # nobody should be led to load it
        engines = tuple(replace(one, score=0.0, reasons=(UNSOUND, *one.reasons)) for one in engines)
    if args.json:
        render.line(json.dumps(as_json(found, engines), indent=2))
    else:
        _show(found, engines)
    return InvalidModelError.exit_code if found.errors else 0


def _inspected(model: str, config: "Config") -> "Inspection":
    """Of a repository of Hugging Face only headers are fetched. Raises ModelNotFoundError, DownloadError."""
    from oprel.core.names import ModelRef
    from oprel.formats.validation import inspect
    from oprel.preview.variants import installed_manifest, repository_meant

    path = Path(model).expanduser()
    if path.exists() or path.is_symlink():
        return inspect(path)
    try:
        return inspect(installed_manifest(model, config).weights)
    except ModelNotFoundError:
        origin = repository_meant(ModelRef.parse(model), config)
        if origin is None:
            raise
    return _in_repository(origin, config)


def _in_repository(origin: "HubOrigin", config: "Config") -> "Inspection":
    from oprel.formats.validation import inspect
    from oprel.preview.variants import awaited, hub_of

    with TemporaryDirectory() as folder:
        path = awaited(hub_of(config).skeleton(origin, Path(folder)))
        return inspect(path).moved(Path(folder), Path("hf.co"))


def _show(found: "Inspection", engines: Sequence["Route"]) -> None:
    render.line(str(found.path))
    for title, text in found.info.display() if found.info else ():
        render.line(f"    {title:16}{text}")
    render.line()
    for one in found.findings:
        _show_finding(one, found.path)
    if not found.findings:
        render.line("Nothing is the matter with it.")
    if engines:
        render.line()
        render.table(TITLES, [(one.backend.name, f"{one.score:.2f}", "; ".join(one.reasons)) for one in engines])
        if not engines[0].is_open and (able := [one.backend for one in engines if one.score]):
            render.note(f"To serve it, get {able[0].name}: {able[0].install}")


def _show_finding(one: "Finding", whole: Path) -> None:
    place = "" if one.path == whole or str(one.path) in one.what else f"{one.path.name}: "
    render.line(f"{one.severity.value:8} {place}{one.what}")
    if one.step:
        render.line(f"         {one.step}")


def as_json(found: "Inspection", engines: Sequence["Route"]) -> dict[str, object]:
    """Everything, for programs."""
    from dataclasses import asdict

    info = found.info
    model = {**asdict(info), "confidence": round(info.confidence, 3)} if info else None
    findings = [
        {"severity": one.severity.value, "path": str(one.path), "what": one.what, "step": one.step}
        for one in found.findings
    ]
    told = [
        {"name": one.backend.name, "score": one.score, "reasons": one.reasons, "installed": one.installed}
        for one in engines
    ]
    return {"path": str(found.path), "model": model, "findings": findings, "engines": told}
