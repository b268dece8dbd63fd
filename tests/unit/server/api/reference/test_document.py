"""The API's description fits the routes: `tests/wire` compares it with the answers."""

import inspect
import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from oprel.core.config import Config
from oprel.core.request_options import OPTIONS
from oprel.runtime.binaries.engine_binaries import EngineBinaries
from oprel.server.api.reference.operation import Operations
from oprel.server.api.reference.routes import DIALECTS, OWN, routes_of
from oprel.server.app import assemble, create_app

TABLES = [import_module(f"oprel.server.api.{name}.operations").REFERENCES for name in DIALECTS]
OPERATIONS: Operations = {
    endpoint: operation
    for reference in (OWN, *(each for references in TABLES for each in references))
    for endpoint, operation in reference.operations.items()
}


@pytest.fixture
def app(tmp_path: Path) -> FastAPI:
    return create_app(assemble(Config(home=str(tmp_path)), EngineBinaries([]), tmp_path))


@pytest.fixture
async def document(app: FastAPI) -> Any:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        return json.loads((await client.get("/openapi.json")).content)


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from [reference for reference in [value.get("$ref")] if isinstance(reference, str)]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_the_tables_describe_all_routes_and_no_others(app: FastAPI) -> None:
    assert {route.endpoint for route in routes_of(app)} == OPERATIONS.keys()


def test_a_description_adds_no_route_and_is_the_same_when_all_are_loaded(app: FastAPI) -> None:
    before, described = len(app.routes), {id(route) for route in routes_of(app)}
    assert len(app.routes) == before
    for route in app.routes:
        if load := getattr(route, "load", None):
            load()
    assert {id(route) for route in routes_of(app)} == described


def test_a_route_reads_the_body_that_its_description_names() -> None:
    for endpoint, operation in OPERATIONS.items():
        read = re.findall(r"parse_body\(request, (?:\w+\.)?(\w+)\)", inspect.getsource(endpoint))
        assert read == ([operation.body.__name__] if operation.body else []), endpoint


def test_the_parameters_of_each_route_are_described(app: FastAPI) -> None:
    for route in routes_of(app):
        assert isinstance(route, APIRoute)
        described = {parameter.name for parameter in OPERATIONS[route.endpoint].parameters}
        assert {parameter.name for parameter in route.dependant.query_params} <= described, route.path


def test_every_reference_leads_somewhere_and_no_name_comes_twice(document: Any) -> None:
    for reference in set(references(document)):
        value = document
        for name in reference.removeprefix("#/").split("/"):
            value = value[name]
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len({*ids}) == len(ids) > 50


def test_links_lead_to_operations_and_name_their_path_parameters(document: Any) -> None:
    by_id = {
        operation["operationId"]: operation for methods in document["paths"].values() for operation in methods.values()
    }
    linked = 0
    for operation in by_id.values():
        for response in operation["responses"].values():
            for link in response.get("links", {}).values():
                target = by_id[link["operationId"]]
                assert {*link["parameters"]} == {each["name"] for each in target["parameters"]}
                linked += 1
    assert linked >= 5


def test_a_request_is_described_with_options_and_older_names(document: Any) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["Options"]["properties"].keys() == OPTIONS.keys()
    assert schemas["ChatRequest"]["properties"]["options"] == {"$ref": "#/components/schemas/Options"}
    assert schemas["PullRequest"]["properties"]["name"]["deprecated"]
    assert schemas["ChatCompletionRequest"]["properties"]["n_gpu_layers"]["type"] == "integer"


def test_of_two_dialects_with_a_path_both_are_described(document: Any) -> None:
    operation = document["paths"]["/v1/models"]["get"]
    assert operation["tags"] == ["Anthropic", "OpenAI"]
    assert {each["in"] for each in operation["parameters"]} == {"header", "query"}
    kinds = operation["responses"]["200"]["content"]["application/json"]["schema"]["anyOf"]
    assert [kind["$ref"].rpartition("/")[2] for kind in kinds] == ["AnthropicModels", "OpenAIModelList"]
