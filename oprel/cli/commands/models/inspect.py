"""`oprel inspect MODEL...`: examines a model's files, and shows their faults and which engines can serve it."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from oprel.cli.options import add_address, config_from
from oprel.cli.screen import render
from oprel.cli.screen.table import Column
from oprel.core.exceptions import InvalidModelError, ModelNotFoundError

if TYPE_CHECKING:
    from oprel.core.config import Config
    from oprel.core.names import HubOrigin
    from oprel.formats.checks.findings import Finding
    from oprel.formats.checks.validation import Inspection
    from oprel.runtime.selection.routing import Route

COLUMNS = ("ENGINE", "SCORE", Column("WHY", wraps=True))


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("inspect", help="check a model's files, and show which engines can serve it")
    what = "a name, hf.co/ORG/REPO[:QUANT], or the path of a file or folder"
    parser.add_argument("names", nargs="+", metavar="model", help=what)
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from oprel.runtime.selection.inspections import described, engines_for

    config = config_from(args)
    inspections = [_inspected(model, config) for model in args.names]
    results = [(inspection, engines_for(inspection, config)) for inspection in inspections]
    if args.json:
        documents = [described(*result).model_dump(mode="json") for result in results]
        render.json(json.dumps(documents if len(documents) > 1 else documents[0], indent=2))
    else:
        for number, result in enumerate(results):
            if number:
                render.line()
            _show(*result)
    return InvalidModelError.exit_code if any(inspection.errors for inspection in inspections) else 0


def _inspected(model: str, config: "Config") -> "Inspection":
    """From a Hugging Face repository only headers are downloaded. Raises ModelNotFoundError, DownloadError."""
    from oprel.core.names import ModelRef
    from oprel.formats.checks.validation import inspect
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
    from oprel.core.home import ensure_temporary_folder
    from oprel.formats.checks.validation import inspect
    from oprel.preview.variants import awaited, hub_of

    ensure_temporary_folder(config)
    with TemporaryDirectory() as folder:
        path = awaited(hub_of(config).skeleton(origin, Path(folder)))
        return inspect(path).moved(Path(folder), Path("hf.co"))


def _show(inspection: "Inspection", engines: Sequence["Route"]) -> None:
    render.verbatim(str(inspection.path))
    for title, text in inspection.info.display() if inspection.info else ():
        render.prose(text, f"    {title:16}")
    render.line()
    for finding in inspection.findings:
        _show_finding(finding, inspection.path)
    if not inspection.findings:
        render.line("No problems found.")
    if engines:
        render.line()
        render.table(COLUMNS, [(each.backend.name, f"{each.score:.2f}", "; ".join(each.reasons)) for each in engines])
        if not engines[0].is_open and (able := [route.backend for route in engines if route.score]):
            render.note(f"To serve it, install {able[0].name}: {able[0].install}")


def _show_finding(finding: "Finding", model: Path) -> None:
    file = "" if finding.path == model or str(finding.path) in finding.what else f"{finding.path.name}: "
    render.prose(f"{file}{finding.what}", f"{finding.severity.value:8} ")
    if finding.step:
        render.prose(finding.step, " " * 9)
