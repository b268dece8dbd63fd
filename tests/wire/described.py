"""Whether an answer is as the description of the API has it: its status, its media type, and each of its fields."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from jsonschema import Draft202012Validator

Document = dict[str, Any]


@dataclass
class Description:
    document: Document
    _strict: Document = field(init=False)

    def __post_init__(self) -> None:
        self._strict = strict(self.document)

    def complaints(self, request: httpx.Request, response: httpx.Response) -> list[str]:
        """What is not as described. Raises AssertionError for an operation or a status that is not there at all."""
        operation = self.operation(request)
        responses = operation["responses"]
        assert str(response.status_code) in responses, f"{request.method} {request.url}: {response.status_code}"
        content = self._resolved(responses[str(response.status_code)]).get("content", {})
        if not content or request.method == "HEAD":
            return [] if not response.content else ["it has content"]
        media = response.headers["content-type"].partition(";")[0]
        assert media in content, f"{request.method} {request.url}: {media}"
        error = responses.get("500", {})
        schemas = [content[media]["schema"]]
        if media in ("application/x-ndjson", "text/event-stream"):  # either may end with an error
            schemas += [part["schema"] for part in self._resolved(error).get("content", {}).values()]
        whole = {"anyOf": schemas, "components": self._strict["components"]}
        validator = Draft202012Validator(whole)
        return [str(error.message)[:500] for value in values(media, response) for error in validator.iter_errors(value)]

    def operation(self, request: httpx.Request) -> Document:
        """Raises StopIteration for one that is not described. A GET describes its HEAD."""
        candidates = [
            methods.get(request.method.lower()) or (methods["get"] if request.method == "HEAD" else None)
            for path, methods in self._strict["paths"].items()
            if re.fullmatch(re.sub(r"\\\{\w+\\\}", ".+", re.escape(path)), request.url.path)
            and (request.method.lower() in methods or (request.method == "HEAD" and "get" in methods))
        ]
        return min((each for each in candidates if each), key=lambda each: len(each.get("parameters", [])))

    def _resolved(self, response: Document) -> Document:
        if "$ref" not in response:
            return response
        resolved = self._strict["components"]["responses"][response["$ref"].rpartition("/")[2]]
        assert isinstance(resolved, dict)
        return resolved


def values(media: str, response: httpx.Response) -> Iterator[object]:
    """The JSON values of an answer, or its text."""
    match media:
        case "application/json":
            yield response.json()
        case "application/x-ndjson":
            yield from map(json.loads, response.text.splitlines())
        case "text/event-stream":
            data = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
            yield from (json.loads(line) for line in data if line != "[DONE]")
        case _:
            yield response.text


def strict(schema: Any) -> Any:
    """The same, with no fields but those that are described."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: strict(value) for name, value in schema.items()}
    is_object = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    return {"additionalProperties": False, **inner} if is_object else inner
