"""oprel's own API, for the description of the API."""

from typing import Annotated

from pydantic import Field, JsonValue

from oprel import api_models as wire
from oprel.server.api.common.streaming_response import NDJSON
from oprel.server.api.oprel import native, tokens
from oprel.server.api.oprel.library import downloads, files, routes
from oprel.server.api.oprel.library.selection import MOST_ON_PAGE, ORDERS, STATUSES
from oprel.server.api.oprel.monitoring import events, observe
from oprel.server.api.reference.error_types import FlatError
from oprel.server.api.reference.operation import (
    COMPLETION_HEADERS,
    JSON_CONTENT,
    TEXT_CONTENT,
    DialectReference,
    FollowUp,
    Operation,
    Operations,
    QueryParameter,
    json_answer,
)
from oprel.wire import daemon as daemon_wire
from oprel.wire import downloads as downloads_wire
from oprel.wire import library as library_wire
from oprel.wire.inspection import InspectRequest, ModelInspection

DOWNLOAD = json_answer(downloads_wire.DownloadTask)
OF_THE_DOWNLOAD = {"task": "$response.body#/id"}
PAGE = Annotated[int, Field(ge=1, le=10**6)]
PAGE_ROWS = Annotated[int, Field(ge=1, le=MOST_ON_PAGE)]
MOST_RESULTS = Annotated[int, Field(ge=1, le=downloads.MOST_RESULTS)]

BELOW_API: Operations = {
    tokens.tokenize: Operation(
        summary="The tokens of a text.", body=wire.TokenizeRequest, answers=json_answer(wire.TokenizeResponse)
    ),
    tokens.detokenize: Operation(
        summary="The text of tokens.", body=wire.DetokenizeRequest, answers=json_answer(wire.DetokenizeResponse)
    ),
    downloads.start: Operation(
        summary="Start a download that goes on in the background.",
        body=downloads_wire.DownloadRequest,
        answers=DOWNLOAD,
        follow_ups=tuple(
            FollowUp(endpoint, OF_THE_DOWNLOAD)
            for endpoint in (downloads.show_download, downloads.pause, downloads.resume, downloads.cancel)
        ),
    ),
    downloads.list_downloads: Operation(
        summary="The downloads, with older words for their states.",
        answers=json_answer(downloads_wire.DownloadsResponse),
    ),
    downloads.list_tasks: Operation(
        summary="The downloads as tasks.",
        answers=json_answer(downloads_wire.DownloadTasksResponse),
        follow_ups=(FollowUp(downloads.show_download, {"task": "$response.body#/downloads/0/id"}),),
    ),
    downloads.show_download: Operation(summary="One download.", answers=DOWNLOAD),
    downloads.pause: Operation(summary="Pause a download.", answers=DOWNLOAD),
    downloads.resume: Operation(summary="Continue a download.", answers=DOWNLOAD),
    downloads.cancel: Operation(summary="Cancel a download, and remove what it has fetched.", answers=DOWNLOAD),
    downloads.search: Operation(
        summary="Search for models on Hugging Face.",
        answers=json_answer(downloads_wire.SearchResponse),
        parameters=(
            QueryParameter("q", str, "The words to search for."),
            QueryParameter("limit", MOST_RESULTS, "How many models to name; 20 by default."),
        ),
    ),
    routes.library: Operation(
        summary="The models, with all that oprel knows of them.",
        answers=json_answer(library_wire.LibraryResponse),
        parameters=(
            QueryParameter("source", str, "Only those of these programs, separated by commas."),
            QueryParameter("provider", str, "The older name of `source`."),
            QueryParameter("served_by", str, "Only those that one of these engines serves, separated by commas."),
            QueryParameter(
                "status",
                str,
                f"Only those in this state, or in several, separated by commas: {', '.join(STATUSES)}; `local` means "
                "installed or loaded, `error` damaged. All but the available ones by default.",
            ),
            QueryParameter("capability", str, "Only those that have all of these, separated by commas."),
            QueryParameter("q", str, "Only those that have all of these words in their name or description."),
            QueryParameter("sort", str, f"The order: {', '.join(ORDERS)}, with - before it for the reverse."),
            QueryParameter("page", PAGE, "One page of the rows, from 1; all rows by default."),
            QueryParameter("per_page", PAGE_ROWS, "How many rows a page has; 50 by default."),
        ),
    ),
    routes.one_model: Operation(
        summary="All that oprel knows of one model, installed or not.",
        answers=json_answer(library_wire.LibraryModel),
    ),
    routes.remove: Operation(summary="Delete a model.", answers=json_answer(library_wire.RemovedResponse)),
    files.cached: Operation(
        summary="The files of models. Only for this machine's own user, like the next ones.",
        answers=json_answer(library_wire.CacheResponse),
    ),
    files.verify: Operation(
        summary="Check the files against their digests.",
        body=library_wire.CacheRequest,
        answers={NDJSON: wire.ProgressResponse},
    ),
    files.prune: Operation(
        summary="Remove files that no model uses; with `all`, the models too.",
        body=library_wire.CacheRequest,
        answers=json_answer(library_wire.RemovedResponse),
    ),
    events.events: Operation(
        summary="What changes: engines, downloads, waiting models. First everything as it is, then each change.",
        answers={events.SSE: JsonValue},  # docs/library.md has the events
        parameters=(QueryParameter("follow", bool, "Whether to go on with each change; true by default."),),
    ),
    files.inspect: Operation(
        summary="Examine a model's files: their format, their faults, and the engines that can serve them.",
        body=InspectRequest,
        answers=json_answer(ModelInspection),
    ),
    files.import_model: Operation(
        summary="Give a file of this machine a name.",
        body=library_wire.ImportRequest,
        answers={NDJSON: wire.ProgressResponse, JSON_CONTENT: wire.ProgressResponse},
    ),
}

OTHERS: Operations = {
    native.health: Operation(summary="The daemon itself.", answers=json_answer(daemon_wire.HealthResponse)),
    native.models: Operation(summary="The engines, and their memory.", answers=json_answer(daemon_wire.ModelsResponse)),
    native.load: Operation(
        summary="Load a model; fetch it before if it is not installed.",
        body=wire.LoadRequest,
        answers={JSON_CONTENT: wire.LoadResponse, NDJSON: wire.LoadResponse},
    ),
    native.unload: Operation(
        summary="Unload a model.", body=wire.UnloadRequest, answers=json_answer(wire.UnloadResponse)
    ),
    native.generate: Operation(
        summary="Answer a prompt in a conversation that the daemon stores.",
        body=wire.ConversationRequest,
        answers={NDJSON: wire.ConversationResponse, JSON_CONTENT: wire.ConversationResponse},
        headers=COMPLETION_HEADERS,
    ),
    observe.metrics: Operation(summary="Figures for Prometheus.", answers={TEXT_CONTENT: str}),
    observe.crashes: Operation(
        summary="The last crashes of engines. Only for this machine's own user, like the next ones.",
        answers=json_answer(daemon_wire.CrashesResponse),
        follow_ups=(FollowUp(observe.crash, {"text": "$response.body#/crashes/0/id"}),),
    ),
    observe.crash: Operation(
        summary="The newest crash with the text in its ID.", answers=json_answer(daemon_wire.Crash)
    ),
    observe.logs: Operation(
        summary="The last lines of a model's engine.",
        answers={TEXT_CONTENT: str},
        parameters=(
            QueryParameter("model", str, "The model. Required."),
            QueryParameter("follow", bool, "Also new lines, until the model is unloaded."),
        ),
    ),
    observe.settings: Operation(
        summary="The daemon's settings in effect.", answers=json_answer(daemon_wire.SettingsResponse)
    ),
    observe.quarantine: Operation(
        summary="Requests that are refused since they crashed their engine.",
        answers=json_answer(daemon_wire.QuarantineResponse),
        follow_ups=(FollowUp(observe.clear_quarantined, {"hash": "$response.body#/requests/0/hash"}),),
    ),
    observe.clear_quarantine: Operation(
        summary="Accept all of these requests again.", answers=json_answer(daemon_wire.ClearedResponse)
    ),
    observe.clear_quarantined: Operation(
        summary="Accept one of these requests again.", answers=json_answer(daemon_wire.ClearedResponse)
    ),
}

ABOUT = "oprel's own API."
REFERENCES = (
    DialectReference(name="oprel", about=ABOUT, error=FlatError, operations=BELOW_API),
    DialectReference(name="oprel", about=ABOUT, error=wire.ErrorResponse, operations=OTHERS),
)
