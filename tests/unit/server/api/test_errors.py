"""The forms of errors: one for each dialect, chosen by the router that serves the request."""

import json
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute

from oprel.core.config import Config
from oprel.core.exceptions import BusyError, ContextLengthError, ModelNotFoundError, OprelError, ValidationError
from oprel.server.api.anthropic import errors as anthropic
from oprel.server.api.common.errors import ErrorEncoder, dialect_router, error_response
from oprel.server.api.guard import Guard
from oprel.server.api.lazy_routes import imported_router
from oprel.server.api.ollama import errors as ollama
from oprel.server.api.ollama import routes as ollama_routes
from oprel.server.api.openai import errors as openai
from oprel.server.api.oprel import errors as own
from oprel.server.api.responses import errors as responses
from oprel.server.app import LAZY_ROUTERS, _oprel_error

ERROR = ModelNotFoundError("no such model", "Pull it.", "Or not.")


def body(encode: ErrorEncoder, error: OprelError = ERROR) -> Any:
    return json.loads(encode(error))


@pytest.mark.parametrize("encode", [ollama.encode_error, own.encode_api_error])
def test_ollamas_form_has_the_message_at_the_top(encode: ErrorEncoder) -> None:
    assert body(encode) == {
        "error": "no such model",
        "code": "model_not_found",
        "resolution_steps": ["Pull it.", "Or not."],
    }


def test_oprels_own_form_is_an_object() -> None:
    steps = ["Pull it.", "Or not."]
    detail = {"type": "model_not_found", "message": "no such model", "details": {}, "resolution_steps": steps}
    assert body(own.encode_error) == {"error": detail}


@pytest.mark.parametrize("encode", [openai.encode_error, responses.encode_error])
def test_both_of_openais_apis_have_one_form(encode: ErrorEncoder) -> None:
    message = "no such model. Pull it. Or not."
    detail = {"message": message, "type": "not_found_error", "param": None, "code": "model_not_found"}
    assert body(encode) == {"error": detail}


def test_a_failed_response_has_the_same_error() -> None:
    assert responses.failure(ERROR) == body(responses.encode_error)["error"]


def test_anthropics_form_has_a_type_and_a_request_id() -> None:
    content = body(anthropic.encode_error)
    assert content.pop("request_id").startswith("req_")
    detail = {"type": "not_found_error", "message": "no such model. Pull it. Or not."}
    assert content == {"type": "error", "error": detail}


@pytest.mark.parametrize(
    ("error", "openai_type", "anthropic_type"),
    [
        (ValidationError("bad"), "invalid_request_error", "invalid_request_error"),
        (BusyError("full"), "api_error", "overloaded_error"),
        (OprelError("a fault"), "api_error", "api_error"),
    ],
)
def test_the_status_determines_the_type(error: OprelError, openai_type: str, anthropic_type: str) -> None:
    assert body(openai.encode_error, error)["error"]["type"] == openai_type
    assert body(anthropic.encode_error, error)["error"]["type"] == anthropic_type


def test_claude_code_recognises_a_prompt_that_is_too_long() -> None:
    message = body(anthropic.encode_error, ContextLengthError("9 tokens"))["error"]["message"]
    assert message.startswith("prompt is too long: 9 tokens")


def test_one_text_keeps_the_punctuation_of_the_message() -> None:
    assert body(openai.encode_error, OprelError("Why?", "Ask."))["error"]["message"] == "Why? Ask."
    assert body(openai.encode_error, OprelError("it broke"))["error"]["message"] == "it broke"


def test_a_request_that_no_route_serves_gets_oprels_own_form() -> None:
    response = error_response({"type": "http"}, ERROR)
    assert (response.status_code, response.body) == (404, own.encode_error(ERROR))


async def answered(app: FastAPI, method: str, path: str) -> httpx.Response:
    app.add_exception_handler(OprelError, _oprel_error)
    app.add_middleware(Guard, config=Config())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        return await http.request(method, path)


async def test_a_new_dialect_only_registers_its_encoder() -> None:
    app, router = FastAPI(openapi_url=None), dialect_router(lambda error: error.code.encode(), prefix="/new")

    @router.get("/thing")
    async def thing() -> None:
        raise ERROR

    app.include_router(router)
    response = await answered(app, "GET", "/new/thing")
    assert (response.status_code, response.text) == (404, "model_not_found")


def routers() -> list[APIRouter]:
    return [
        ollama_routes.public,
        ollama_routes.router,
        *(imported_router(name) for names in LAZY_ROUTERS.values() for name in names),
    ]


def routes() -> list[tuple[str, str]]:
    all_routes = [route for router in routers() for route in router.routes if isinstance(route, APIRoute)]
    return [(method, route.path) for route in all_routes for method in sorted((route.methods or set()) - {"HEAD"})]


def form_below(path: str) -> ErrorEncoder:
    if path == "/" or path.startswith("/api/"):
        return ollama.encode_error
    if path.startswith("/v1/messages"):
        return anthropic.encode_error
    return openai.encode_error if path.startswith("/v1/") else own.encode_error


@pytest.mark.parametrize(("method", "path"), routes())
async def test_a_check_on_all_routes_reports_in_the_form_of_the_route(method: str, path: str) -> None:
    def check() -> None:
        raise ERROR

    app = FastAPI(openapi_url=None, dependencies=[Depends(check)])
    for router in routers():
        app.include_router(router)
    response = await answered(app, method, path)
    assert response.status_code == 404
    content, expected = response.json(), body(form_below(path))
    assert content.pop("request_id", None) != expected.pop("request_id", "")
    assert content == expected
