"""Whether an answer is what its `format` promised. The engine enforces a grammar; here it is proven."""

from collections.abc import Mapping

import jsonschema
import orjson
from pydantic import JsonValue

from oprel.core.exceptions import BackendError, ValidationError


def check_schema(schema: Mapping[str, JsonValue]) -> None:
    """Raises ValidationError for what is no JSON schema."""
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise ValidationError(f"invalid format: {error.message}", "`format` takes a valid JSON schema.") from error


def check_answer(text: str, schema: Mapping[str, JsonValue]) -> None:
    """Raises BackendError when the whole answer `text` is not JSON that follows `schema` ({} = any object)."""
    advice = "Ask again, or ask for a simpler schema."
    try:
        jsonschema.Draft202012Validator(schema or {"type": "object"}).validate(orjson.loads(text))
    except orjson.JSONDecodeError as error:
        raise BackendError("the model's answer is not the JSON that `format` asks for", advice) from error
    except jsonschema.ValidationError as error:
        raise BackendError(f"the model's answer does not follow the schema: {error.message}", advice) from error
