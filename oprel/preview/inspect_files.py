"""`inspect`: what is wrong with a model's files, and which engines can serve them. Needs no daemon and no engine."""

from pathlib import Path
from typing import overload

from oprel.core.config import Config, load_config
from oprel.formats.checks import validation
from oprel.runtime.selection.inspections import described, engines_for
from oprel.wire.inspection import ModelInspection

Several = list[str] | list[Path] | tuple[str | Path, ...]


@overload
def inspect(paths: str | Path, *, config: Config | None = None) -> ModelInspection: ...


@overload
def inspect(paths: Several, *, config: Config | None = None) -> list[ModelInspection]: ...


def inspect(paths: str | Path | Several, *, config: Config | None = None) -> ModelInspection | list[ModelInspection]:
    """Examine the model in a file or folder, or those in several. Headers are read, and nothing is loaded or run.

    What cannot be read, or is not a model, is a finding; nothing is raised for it.
    """
    config = config or load_config()
    if isinstance(paths, str | Path):
        inspection = validation.inspect(Path(paths).expanduser())
        return described(inspection, engines_for(inspection, config))
    return [inspect(path, config=config) for path in paths]
