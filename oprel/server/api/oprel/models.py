"""Models made, copied and deleted over Ollama's API, and the files that they are made of."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import anyio.to_thread
from fastapi import APIRouter, Request, Response
from pydantic import JsonValue
from starlette.requests import ClientDisconnect

from oprel import api_models as wire
from oprel.core.exceptions import ModelNotFoundError, UnsupportedError, ValidationError
from oprel.core.manifests import Manifest
from oprel.core.modelfile import ROLES, Parameter
from oprel.core.names import ModelRef, NameKind
from oprel.core.request_options import OPTIONS
from oprel.server.api.common import decode
from oprel.server.api.common.app_state import AppState, state_of
from oprel.server.api.common.encode import json_bytes, json_response
from oprel.server.api.common.streaming import once
from oprel.server.api.common.streaming_response import NDJSON, StreamingReply
from oprel.server.downloads.manager import Downloads
from oprel.server.models import create
from oprel.server.models.create import ModelRecipe, Progress

router = APIRouter()

BLOB = "/api/blobs/{digest}"


@router.api_route("/api/status", methods=["GET", "HEAD"])
async def status() -> Response:
    return json_response(wire.CloudStatusResponse())


@router.head(BLOB)
async def has_blob(request: Request, digest: str) -> Response:
    return Response(status_code=200 if state_of(request).library.blobs.find(digest) else 404)


@router.post(BLOB)
async def add_blob(request: Request, digest: str) -> Response:
    try:
        is_new = await state_of(request).library.blobs.add(digest, request.stream())
    except ClientDisconnect:
        return Response()  # which nobody reads
    return Response(status_code=201 if is_new else 200)


@router.post("/api/create")
async def create_model(request: Request) -> Response:
    asked = await decode.body(request, wire.CreateRequest)
    daemon = state_of(request)
    recipe = _recipe(asked, may_use_paths=decode.is_own_user(request))
    return progress(_created(daemon, recipe), asked.stream)


@router.post("/api/copy")
async def copy(request: Request) -> Response:
    asked = await decode.body(request, wire.CopyRequest)
    source = name_of(asked.source, f'source "{asked.source}" is invalid')
    destination = name_of(asked.destination, f'destination "{asked.destination}" is invalid')
    daemon = state_of(request)
    try:
        await anyio.to_thread.run_sync(daemon.library.copy, source, destination)
    except ModelNotFoundError as error:
        raise ModelNotFoundError(f'model "{asked.source}" not found', *error.resolution_steps) from None
    await daemon.removal.prune()
    return Response()


@router.delete("/api/delete")
async def delete(request: Request) -> Response:
    asked = await decode.body(request, wire.DeleteRequest)
    name_of(asked.model, f'name "{asked.model}" is invalid')
    daemon = state_of(request)
    await daemon.removal.remove(asked.model)
    return Response()


@router.post("/api/pull")
async def pull(request: Request) -> Response:
    asked = await decode.body(request, wire.PullRequest)
    name = name_of(asked.model, "invalid model name")
    return progress(_pulled(state_of(request).downloads, name, insecure=asked.insecure), asked.stream)


async def _created(daemon: AppState, recipe: ModelRecipe) -> Progress:
    async with aclosing(create.create(daemon.library, daemon.manager.config, recipe)) as steps:
        async for step in steps:
            yield step
    await daemon.removal.prune()  # what a model of that name used before


async def _pulled(downloads: Downloads, name: ModelRef, *, insecure: bool) -> Progress:
    download = downloads.start(name, keep=False, insecure=insecure)
    try:
        async with aclosing(downloads.follow(download)) as pulled:
            async for step in pulled:
                yield step
    except ModelNotFoundError as error:
        raise ModelNotFoundError(wire.NOT_TO_BE_PULLED, f"{error.message}.", *error.resolution_steps) from None


def progress(steps: Progress, stream: bool) -> StreamingReply:
    """Each step as a line, or the last one alone."""

    async def lines() -> AsyncGenerator[bytes, None]:
        async with aclosing(steps):
            async for step in steps:
                yield json_bytes(step) + b"\n"

    async def last() -> wire.ProgressResponse:
        async with aclosing(steps):
            return [step async for step in steps][-1]

    return StreamingReply(lines(), NDJSON) if stream else once(last)


def name_of(text: str, complaint: str) -> ModelRef:
    """A name, and not a path. Raises ValidationError with that complaint."""
    try:
        ref = ModelRef.parse(text)
    except ValidationError as error:
        raise ValidationError(complaint, *error.resolution_steps) from None
    if ref.kind is NameKind.PATH:
        raise ValidationError(complaint, "A name looks like model, model:tag or user/model:tag.")
    return ref


def _recipe(asked: wire.CreateRequest, *, may_use_paths: bool) -> ModelRecipe:
    name = name_of(asked.model, "invalid model name")
    given = {key: value for key, value in asked.parameters.items() if value is not None}
    known: decode.Options = {key: value for key, value in given.items() if key in OPTIONS}
    decode.options(known, Manifest("", Path()))  # complains as of any request's options
    return ModelRecipe(
        name=name,
        source=asked.from_,
        may_use_paths=may_use_paths,
        files=asked.files,
        adapters=asked.adapters,
        template=asked.template,
        system=asked.system,
        license="\n".join(asked.license) if isinstance(asked.license, list) else asked.license,
        parameters={key: _parameter(value) for key, value in known.items()},
        messages=tuple(_message(message) for message in asked.messages),
        quantize=asked.quantize,
        notes=tuple(f"ignored unknown parameter {key}" for key in sorted(given.keys() - OPTIONS.keys())),
    )


def _parameter(value: JsonValue) -> Parameter:
    """A value that `decode.options` took; `stop` is always a list, as it may be one text."""
    if isinstance(value, bool | int | float):
        return value
    return [str(text) for text in value] if isinstance(value, list) else [str(value)]


def _message(given: wire.OllamaMessage) -> tuple[str, str]:
    if given.role.lower() not in ROLES:
        raise ValidationError('message role must be one of "system", "user", or "assistant"')
    if given.images or given.tool_calls:
        raise UnsupportedError("the messages of a model are texts only", "Leave images and tool calls out.")
    return given.role.lower(), given.content
