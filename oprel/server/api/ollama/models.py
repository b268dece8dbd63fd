"""Ollama's API of models: create, copy, delete, pull and push them, and upload the files for them."""

from contextlib import aclosing

import anyio.to_thread
from fastapi import Request, Response
from pydantic import JsonValue
from starlette.requests import ClientDisconnect

from oprel import api_models as wire
from oprel.core.exceptions import ModelNotFoundError, UnsupportedError, ValidationError
from oprel.core.models.modelfile import ROLES, Parameter
from oprel.core.names import ModelRef
from oprel.core.request_options import OPTIONS
from oprel.server.access.caller import AccessLevel
from oprel.server.api.common import decode
from oprel.server.api.common.app_state import AppState, state_of
from oprel.server.api.common.errors import dialect_router
from oprel.server.api.common.streaming import progress_reply
from oprel.server.api.ollama.errors import encode_error
from oprel.server.downloads.manager import Downloads
from oprel.server.models import create, push
from oprel.server.models.create import ModelRecipe, Progress

router = dialect_router(encode_error, access=AccessLevel.MODELS)

BLOB = "/api/blobs/{digest}"


@router.head(BLOB)
async def has_blob(request: Request, digest: str) -> Response:
    return Response(status_code=200 if state_of(request).library.blobs.find(digest) else 404)


@router.post(BLOB)
async def add_blob(request: Request, digest: str) -> Response:
    try:
        is_new = await state_of(request).library.blobs.add(digest, request.stream())
    except ClientDisconnect:
        return Response()  # which no client reads
    return Response(status_code=201 if is_new else 200)


@router.post("/api/create")
async def create_model(request: Request) -> Response:
    body = await decode.parse_body(request, wire.CreateRequest)
    state = state_of(request)
    recipe = _recipe(body, may_use_paths=decode.is_own_user(request))
    return progress_reply(_created(state, recipe), stream=body.stream)


@router.post("/api/copy")
async def copy(request: Request) -> Response:
    body = await decode.parse_body(request, wire.CopyRequest)
    source = decode.model_name(body.source, f'source "{body.source}" is invalid')
    destination = decode.model_name(body.destination, f'destination "{body.destination}" is invalid')
    state = state_of(request)
    try:
        await anyio.to_thread.run_sync(state.library.copy, source, destination)
    except ModelNotFoundError as error:
        raise ModelNotFoundError(f'model "{body.source}" not found', *error.resolution_steps) from None
    await state.removal.prune()
    return Response()


@router.delete("/api/delete")
async def delete(request: Request) -> Response:
    body = await decode.parse_body(request, wire.DeleteRequest)
    decode.model_name(body.model, f'name "{body.model}" is invalid')
    state = state_of(request)
    await state.removal.remove(body.model)
    return Response()


@router.post("/api/pull")
async def pull(request: Request) -> Response:
    body = await decode.parse_body(request, wire.PullRequest)
    name = decode.model_name(body.model, "invalid model name")
    public_only = not decode.is_own_user(request)
    pulled = _pulled(state_of(request).downloads, name, insecure=body.insecure, public_only=public_only)
    return progress_reply(pulled, stream=body.stream)


@router.post("/api/push")
async def push_model(request: Request) -> Response:
    body = await decode.parse_body(request, wire.PullRequest)
    name = decode.model_name(decode.required(body.model), "invalid model name")
    state = state_of(request)
    model = await state.library.find(name.text, may_use_paths=False)
    destination = push.destination(name, insecure=body.insecure)
    pushed = push.push_model(model, destination, state.manager.config, public_only=not decode.is_own_user(request))
    return progress_reply(pushed, stream=body.stream)


async def _created(state: AppState, recipe: ModelRecipe) -> Progress:
    async with aclosing(create.create(state.library, state.manager.config, recipe)) as steps:
        async for step in steps:
            yield step
    await state.removal.prune()  # the files of the previous model of that name


async def _pulled(downloads: Downloads, name: ModelRef, *, insecure: bool, public_only: bool) -> Progress:
    download = downloads.start(name, keep=False, insecure=insecure, public_only=public_only)
    try:
        async with aclosing(downloads.follow(download)) as pulled:
            async for step in pulled:
                yield step
    except ModelNotFoundError as error:
        raise ModelNotFoundError(wire.NOT_TO_BE_PULLED, f"{error.message}.", *error.resolution_steps) from None


def _recipe(body: wire.CreateRequest, *, may_use_paths: bool) -> ModelRecipe:
    name = decode.model_name(body.model, "invalid model name")
    given = {key: value for key, value in body.parameters.items() if value is not None}
    supported: decode.Options = {key: value for key, value in given.items() if key in OPTIONS}
    decode.options(supported, {})  # checks the values like the options of any request
    return ModelRecipe(
        name=name,
        source=body.from_,
        may_use_paths=may_use_paths,
        files=body.files,
        adapters=body.adapters,
        template=body.template or None,
        system=body.system or None,
        license=("\n".join(body.license) if isinstance(body.license, list) else body.license) or None,
        parameters={key: _parameter(value) for key, value in supported.items()},
        messages=tuple(_message(message) for message in body.messages),
        quantize=body.quantize,
        notes=tuple(f"ignored unknown parameter {key}" for key in sorted(given.keys() - OPTIONS.keys())),
    )


def _parameter(value: JsonValue) -> Parameter:
    """A value that `decode.options` accepted. `stop` may be one text; here it is always a list."""
    if isinstance(value, bool | int | float):
        return value
    return [str(text) for text in value] if isinstance(value, list) else [str(value)]


def _message(given: wire.OllamaMessage) -> tuple[str, str]:
    if given.role.lower() not in ROLES:
        raise ValidationError('message role must be one of "system", "user", or "assistant"')
    if given.images or given.tool_calls:
        raise UnsupportedError("the messages of a model are texts only", "Leave images and tool calls out.")
    return given.role.lower(), given.content
