"""The OpenAPI document of a list of routes. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fastapi.routing import APIRoute

from oprel.server.api.common.ignored import IGNORED
from oprel.server.api.common.streaming import MISSING_PROMPT, TRUNCATED, UNPARSED
from oprel.server.api.reference.error_responses import error_components, error_responses
from oprel.server.api.reference.error_types import RefusedHead
from oprel.server.api.reference.operation import JSON_CONTENT, AnyEndpoint, DialectReference, Operation
from oprel.server.api.reference.schemas import COMPONENTS, Schema, Schemas

OPENAPI_VERSION = "3.1.0"
ABOUT = """oprel runs language models on this machine, and speaks the APIs of Ollama, OpenAI and Anthropic.

Requests are as lenient as Ollama's: the content type does not matter, a field that is null is as if it were absent, and
fields that are not described are ignored, and named in the header X-Oprel-Ignored. A stream (`application/x-ndjson`,
`text/event-stream`) is described by its lines or events; one that breaks off ends with an error in the form of its
dialect. Names of models in paths may contain slashes. Every GET answers HEAD too."""
HEADERS: Mapping[str, str] = {
    IGNORED: "The paths of parts of the request that had no effect.",
    TRUNCATED: "How much of an over-long prompt was left out: `messages=N; tokens=N`.",
    UNPARSED: "The answer is sent as the model wrote it.",
    MISSING_PROMPT: "The model's prompts, if a text has none of them.",
    "Retry-After": "Seconds until another try makes sense.",
}


@dataclass(frozen=True)
class _Described:
    route: APIRoute
    dialect: DialectReference
    operation: Operation

    @property
    def id(self) -> str:
        """For example `ollama_chat`: the name of a generated client's call."""
        return f"{self.dialect.name.lower()}_{self.route.endpoint.__name__}"


def document(routes: Iterable[APIRoute], dialects: Sequence[DialectReference], version: str) -> Schema:
    """The description of the routes. Raises KeyError for one without an entry in the dialects' tables."""
    entries = {endpoint: (each, operation) for each in dialects for endpoint, operation in each.operations.items()}
    described = [_Described(route, *entries[route.endpoint]) for route in routes]
    schemas = Schemas(
        [RefusedHead, *(kind for each in described for kind in _kinds(each))],
        [each.operation.body for each in described if each.operation.body],
    )
    return {
        "openapi": OPENAPI_VERSION,
        "info": {"title": "oprel", "version": version, "description": ABOUT},
        "servers": [{"url": "/"}],
        "tags": [*{each.name: {"name": each.name, "description": each.about} for each in dialects}.values()],
        "paths": _paths(described, schemas),
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "responses": error_components({each.error for each in dialects}, schemas),
            "headers": {name: {"schema": {"type": "string"}, "description": text} for name, text in HEADERS.items()},
        },
    }


def _kinds(each: _Described) -> Iterator[object]:
    yield each.dialect.error
    yield from each.operation.answers.values()
    yield from (parameter.kind for parameter in each.operation.parameters)


def _paths(described: Sequence[_Described], schemas: Schemas) -> Schema:
    """Each path with its methods. Several dialects may have the same ones, told apart by a header."""
    ids = {each.route.endpoint: each.id for each in described}
    groups: dict[tuple[str, str], list[_Described]] = {}
    for each in described:
        for method in _methods(each.route):
            groups.setdefault((each.route.path_format, method.lower()), []).append(each)
    paths: dict[str, Schema] = {}
    for (path, method), group in groups.items():
        paths.setdefault(path, {})[method] = _operation(group, schemas, ids)
    return dict(paths)


def _methods(route: APIRoute) -> list[str]:
    methods = route.methods or set()
    return sorted(methods - {"HEAD"} or methods)


def _operation(group: Sequence[_Described], schemas: Schemas, ids: Mapping[AnyEndpoint, str]) -> Schema:
    """The last one of the group is the usual one, for requests without a header."""
    usual, operations = group[-1], [each.operation for each in group]
    parameters = [*_path_parameters(usual.route), *_other_parameters(operations, schemas)]
    body = _body(usual.operation)
    errors = error_responses([each.dialect.error for each in group], usual.operation, schemas)
    return {
        "operationId": usual.id,
        "tags": [each.dialect.name for each in group],
        "summary": usual.operation.summary,
        **({"parameters": parameters} if parameters else {}),
        **({"requestBody": body} if body else {}),
        "responses": {**_answers(operations, schemas, ids), **errors},
    }


def _path_parameters(route: APIRoute) -> Iterator[Schema]:
    for name in re.findall(r"\{(\w+)\}", route.path_format):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _other_parameters(operations: Sequence[Operation], schemas: Schemas) -> Iterator[Schema]:
    distinct = {parameter.name: parameter for operation in operations for parameter in operation.parameters}
    for parameter in distinct.values():
        place = "header" if parameter.is_header else "query"
        schema, meaning = schemas.of(parameter.kind), parameter.meaning
        yield {"name": parameter.name, "in": place, "required": False, "schema": schema, "description": meaning}


def _body(operation: Operation) -> Schema:
    if operation.takes_bytes:
        content: Schema = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    elif operation.body:
        content = {JSON_CONTENT: {"schema": {"$ref": COMPONENTS + operation.body.__name__}}}
    else:
        return {}
    return {"required": True, "content": content}


def _answers(operations: Sequence[Operation], schemas: Schemas, ids: Mapping[AnyEndpoint, str]) -> Schema:
    usual = operations[-1]
    headers = [*usual.headers, *([IGNORED] if usual.body else [])]
    parts: Schema = {
        "content": {media: _content([each.answers[media] for each in operations], schemas) for media in usual.answers},
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
        "links": {
            ids[link.endpoint]: {"operationId": ids[link.endpoint], "parameters": dict(link.values)}
            for link in usual.follow_ups
        },
    }
    present = {name: part for name, part in parts.items() if part}
    return {str(status): {"description": text, **present} for status, text in usual.statuses.items()}


def _content(kinds: Sequence[object], schemas: Schemas) -> Schema:
    return {"schema": schemas.either(kinds)}
