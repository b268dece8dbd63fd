"""The models: those that are installed, are being downloaded, or can be pulled."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import anyio.to_thread
from fastapi import Request, Response

from oprel.core.exceptions import ModelNotFoundError
from oprel.core.names import ModelRef
from oprel.downloader.aliases import Aliases
from oprel.runtime.selection.engines import find_engines
from oprel.server.access.caller import AccessLevel
from oprel.server.api.common import decode
from oprel.server.api.common.app_state import AppState, state_of
from oprel.server.api.common.encode import json_bytes, json_response
from oprel.server.api.common.errors import dialect_router
from oprel.server.api.common.streaming_response import JSON
from oprel.server.api.oprel.errors import encode_api_error
from oprel.server.api.oprel.library import rows
from oprel.server.api.oprel.library.files import removed_reply
from oprel.server.api.oprel.library.selection import LOCAL, Selection, selection
from oprel.server.api.visible_models import is_visible, survey
from oprel.server.models.summaries import ModelList, ModelSummary
from oprel.telemetry.memory.estimator import estimate
from oprel.telemetry.memory.load_shape import LoadShape
from oprel.wire.library import LibraryModel

router = dialect_router(encode_api_error, access=AccessLevel.INFERENCE)
managing = dialect_router(encode_api_error, access=AccessLevel.MODELS)

READ = ["GET", "HEAD"]
LIBRARY = "/api/models/library"
USUAL_CONTEXT = 4096  # tokens for which a memory requirement is given


@router.api_route(LIBRARY, methods=READ)
async def library(request: Request) -> Response:
    """Each filter takes one value, or several with commas. Only `status=available` lists models that can be pulled."""
    state, wanted, is_shown = state_of(request), selection(request.query_params), _shown_to(request)
    around = await _surroundings(request)

    def reply(models: ModelList) -> Response:
        return _Catalog(state, models, around, is_shown).reply(wanted)

    return await survey(request, reply)


@router.api_route(LIBRARY + "/{name:text}", methods=READ)
async def one_model(request: Request, name: str) -> Response:
    """All that is known of one model, installed or not."""
    state, around, is_shown = state_of(request), await _surroundings(request), _shown_to(request)
    key = decode.model_name(name, f'name "{name}" is invalid').key
    row = await survey(request, lambda models: _Catalog(state, models, around, is_shown).find(name, key))
    if row is None:
        raise ModelNotFoundError(f"model '{name}' not found", "`GET /api/models/library` lists the models.")
    if row.status in ("installed", "loaded"):
        row = await _with_memory(request, row)
    return json_response(row, nulls=True)


@managing.delete(LIBRARY + "/{name:text}")
async def remove(request: Request, name: str) -> Response:
    decode.model_name(name, f'name "{name}" is invalid')
    return removed_reply(await state_of(request).removal.remove(name))


@dataclass(frozen=True)
class _Catalog:
    """Every model that there is."""

    state: AppState
    models: ModelList
    around: rows.Surroundings
    is_shown: Callable[[str], bool]

    def reply(self, wanted: Selection) -> Response:
        counted = {"local": 0, "available": 0}
        if wanted.has_only_plain_filters:
            listed: Sequence[LibraryModel | bytes] = [*self._quick_rows(wanted, counted)]
            total = len(listed)
        else:
            matching = [row for row in self._all_rows() if wanted.matches(row)]
            counted["local"] = sum(row.status in LOCAL for row in matching)
            counted["available"] = sum(row.status == "available" for row in matching)
            selected = [row for row in matching if wanted.wants_status(row.status)]
            total, listed = len(selected), wanted.page_of(selected)
        parts = [row if isinstance(row, bytes) else json_bytes(row) for row in listed]
        counts = total, counted["local"], counted["available"]
        ends = b',"total_count":%d,"local_count":%d,"available_count":%d}' % counts
        return Response(b'{"models":[%b]%b' % (b",".join(parts), ends), media_type=JSON)

    def find(self, name: str, key: str) -> LibraryModel | None:
        for model in self.models.usable:
            if model.manifest.key == key:
                return self.around.row(model)
        for row in self._other_rows():
            if name.lower() in (row.name.lower(), *row.aliases) or ModelRef.parse(row.name).key == key:
                return row
        return None

    def _quick_rows(self, wanted: Selection, counted: dict[str, int]) -> Iterator[LibraryModel | bytes]:
        """Most models are neither loaded nor were ever used: their rows are made once."""
        encode = _encoded_for_owner if self.around.shows_paths else _encoded_for_others
        for model in self.models.usable:
            if wanted.fits(model.manifest.provider, model.capabilities):
                counted["local"] += 1
                row = self.around.row(model) if not self.around.is_plain(model) else None
                if wanted.wants_status(row.status if row else "installed"):
                    yield row or self._with_engine(model, model.encoded(encode))
        for other in self._other_rows():
            if wanted.matches(other):
                counted["local"] += other.status in LOCAL
                counted["available"] += other.status == "available"
                if wanted.wants_status(other.status):
                    yield other

    def _with_engine(self, model: ModelSummary, encoded: bytes) -> bytes:
        """The engine of a format changes with what is installed; the rest of a row does not."""
        engine = self.around.engines.get(model.header_summary.format)
        return b'%b,"served_by":%b}' % (encoded[:-1], b'"%b"' % engine.encode() if engine else b"null")

    def _all_rows(self) -> Iterator[LibraryModel]:
        yield from map(self.around.row, self.models.usable)
        yield from self._other_rows()

    def _other_rows(self) -> Iterator[LibraryModel]:
        shows_path = self.around.shows_paths
        yield from (rows.damaged_row(*fault, shows_path=shows_path) for fault in self.models.faults)
        downloading = rows.downloading_rows(iter(self.state.downloads.all()))
        available = map(rows.available_row, Aliases.load(self.state.manager.config.home_dir))
        yield from (row for row in (*downloading, *available) if self.is_shown(row.name))


def _shown_to(request: Request) -> Callable[[str], bool]:
    return lambda name: is_visible(request, [name])


async def _surroundings(request: Request) -> rows.Surroundings:
    state = state_of(request)
    loaded = {loaded.model.weights: loaded.decision.backend.name for loaded in state.manager.loaded}
    engines = await anyio.to_thread.run_sync(_engines, state)
    return rows.Surroundings(loaded, engines, state.last_use, decode.is_own_user(request))


def _engines(state: AppState) -> Mapping[str, str]:
    """The first installed engine of each format."""
    engines: dict[str, str] = {}
    for engine in find_engines(state.manager.config):
        for format in engine.backend.formats if engine.programs else ():
            engines.setdefault(format, engine.backend.name)
    return engines


async def _with_memory(request: Request, row: LibraryModel) -> LibraryModel:
    model = await decode.model(request, row.name)
    if not model.is_gguf:
        return row
    context = min(model.header.context_length or USUAL_CONTEXT, USUAL_CONTEXT)
    needed = await anyio.to_thread.run_sync(lambda: estimate(model.header, LoadShape(context=context)))
    metadata = row.metadata.model_copy(update={"memory_requirement": needed.host_total + model.projector_bytes})
    return row.model_copy(update={"metadata": metadata})


def _encoded_for_owner(model: ModelSummary) -> bytes:
    return json_bytes(rows.installed_row(model, "installed", None, None, shows_path=True))


def _encoded_for_others(model: ModelSummary) -> bytes:
    return json_bytes(rows.installed_row(model, "installed", None, None, shows_path=False))
