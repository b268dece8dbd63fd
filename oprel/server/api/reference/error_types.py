"""The forms of errors, as the API's description has them; `common.errors` and the dialects' `errors` write them."""

from typing import Literal

from oprel.api_models import Wire


class FlatError(Wire):
    """Below `/api`: Ollama's form. `code` and `resolution_steps` are oprel's own."""

    error: str
    code: str
    resolution_steps: list[str]


class OpenAIErrorDetail(Wire):
    message: str
    type: str
    param: None
    code: str


class OpenAIErrorForm(Wire):
    """OpenAI's form."""

    error: OpenAIErrorDetail


class AnthropicErrorDetail(Wire):
    type: str
    message: str


class AnthropicErrorForm(Wire):
    """Anthropic's form, also of the event `error` that ends a stream."""

    type: Literal["error"]
    error: AnthropicErrorDetail
    request_id: str


class RefusedHead(Wire):
    """A request that is refused before its route is known."""

    error: str
