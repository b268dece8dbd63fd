"""The HTTP transport for an engine of another dialect: translates each request and answer."""

from collections.abc import AsyncIterator, Callable

import httpx
import orjson
from pydantic import JsonValue

from oprel.runtime.backends.dialect import Call, Dead, Dialect, Json, Unknown, choices

COMPLETIONS = ("/v1/completions", "/v1/chat/completions")
DONE = b"data: [DONE]\n\n"
NOT_ITS_DIALECT = "the engine sent what is not its dialect"


class Translating(httpx.AsyncBaseTransport):
    """Takes llama-server's requests and gives llama-server's answers. Calls `on_death` when the engine reports it.

    It limits answers to the `context`, in tokens: other engines refuse requests for more, or never stop.
    """

    def __init__(
        self,
        engine: httpx.AsyncBaseTransport,
        dialect: Dialect,
        context: int,
        on_death: Callable[[str], None],
    ) -> None:
        self._engine = engine
        self._dialect = dialect
        self._context = context
        self._on_death = on_death

    async def aclose(self) -> None:
        await self._engine.aclose()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return await self._engine.handle_async_request(request)
        try:
            return await self._translated(request, orjson.loads(await request.aread()))
        except _Refused as refusal:
            return refusal.response
        except Unknown as unknown:
            message = f"this engine cannot {unknown}"
            return _answer(501, {"error": {"code": 501, "message": message, "type": "not_supported_error"}})
        except Dead as death:
            raise self._lost(request, death) from death

    async def _translated(self, request: httpx.Request, body: Json) -> httpx.Response:
        dialect, path = self._dialect, request.url.path
        if path in COMPLETIONS:
            return await self._completion(request, path, body)
        match path:
            case "/tokenize":
                return _answer(200, {"tokens": dialect.tokens(await self._ask(request, dialect.tokenize(body)))})
            case "/detokenize":
                return _answer(200, {"content": await self._text(request, body)})
            case "/apply-template":
                tokens = dialect.tokens(await self._ask(request, dialect.template(body)))
                return _answer(200, {"prompt": await self._text(request, {"tokens": tokens})})
        return _answer(200, await self._ask(request, dialect.other(path, body)))

    async def _text(self, request: httpx.Request, body: Json) -> JsonValue:
        return self._dialect.text(await self._ask(request, self._dialect.detokenize(body)))

    async def _completion(self, request: httpx.Request, path: str, body: Json) -> httpx.Response:
        dialect, prompt = self._dialect, body.get("prompt")
        if isinstance(prompt, list) and not all(isinstance(part, int) for part in prompt):
            body = {**body, "prompt": await self._flat(request, prompt)}
        most, context = body.get("max_tokens"), self._context
        if isinstance(most, int) and not 0 <= most <= context:
            body = {**body, "max_tokens": context}
            if dialect.fills_context:
                del body["max_tokens"]
        response = await self._send(request, dialect.completion(path, body))
        if response.is_error:
            return self._refused(response.status_code, _error(await response.aread()))
        return httpx.Response(200, stream=_Events(self._events(request, response), response))

    async def _flat(self, request: httpx.Request, prompt: list[JsonValue]) -> list[JsonValue]:
        """Convert a prompt of texts and tokens to tokens only."""
        flat = list[JsonValue]()
        for part in prompt:
            if isinstance(part, int):
                flat.append(part)
            else:
                body: Json = {"content": part, "add_special": not flat, "parse_special": True}
                tokens = self._dialect.tokens(await self._ask(request, self._dialect.tokenize(body)))
                flat += tokens if isinstance(tokens, list) else []
        # A rendered template may begin with the token that the engine adds itself.
        return flat[1:] if flat[:1] and flat[:1] == flat[1:2] and isinstance(prompt[0], str) else flat

    async def _ask(self, request: httpx.Request, call: Call) -> JsonValue:
        """The engine's answer to one call. Raises _Refused."""
        response = await self._send(request, call)
        content = await response.aread()
        if response.is_error:
            raise _Refused(self._refused(response.status_code, _error(content)))
        return _json(content)

    async def _send(self, request: httpx.Request, call: Call) -> httpx.Response:
        content = orjson.dumps(call.body)
        url = request.url.copy_with(path=call.path)
        headers = {"content-type": "application/json"}
        if key := request.headers.get("authorization"):
            headers["authorization"] = key
        translated = httpx.Request("POST", url, content=content, headers=headers, extensions=request.extensions)
        return await self._engine.handle_async_request(translated)

    async def _events(self, request: httpx.Request, response: httpx.Response) -> AsyncIterator[bytes]:
        """The stream's events in llama-server's dialect. A stream that breaks off gets no `[DONE]`."""
        rest, ended = b"", False
        async for data in response.aiter_raw():
            *blocks, rest = (rest + data).replace(b"\r\n", b"\n").split(b"\n\n")
            for block in blocks:
                if block == DONE.strip():
                    ended = True
                elif block.startswith(b"data:"):
                    event = self._event(request, block.partition(b":")[2])
                    ended |= not self._dialect.says_done and _is_last(event)
                    yield b"data: " + orjson.dumps(event) + b"\n\n"
        if ended:
            yield DONE

    def _event(self, request: httpx.Request, content: bytes) -> Json:
        try:
            event = _object(content)
            if "error" in event:
                return {"error": self._dialect.error(500, _named(event["error"]))}
            return self._dialect.event(event)
        except Dead as death:
            raise self._lost(request, death) from death

    def _refused(self, status: int, error: Json) -> httpx.Response:
        return _answer(status, {"error": self._dialect.error(status, error)})

    def _lost(self, request: httpx.Request, death: Dead) -> httpx.RemoteProtocolError:
        self._on_death(str(death))
        return httpx.RemoteProtocolError(str(death), request=request)


class _Events(httpx.AsyncByteStream):
    """The translated stream. Closing it closes the engine's stream."""

    def __init__(self, events: AsyncIterator[bytes], response: httpx.Response) -> None:
        self._events = events
        self._response = response

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._events

    async def aclose(self) -> None:
        await self._response.aclose()


class _Refused(Exception):
    """The engine refused a call that another request depends on; `response` is the error."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__()
        self.response = response


def _answer(status: int, content: JsonValue) -> httpx.Response:
    return httpx.Response(status, content=orjson.dumps(content))


def _object(content: bytes) -> Json:
    """Raises Dead for anything but a JSON object."""
    if not isinstance(value := _json(content), dict):
        raise Dead(NOT_ITS_DIALECT)
    return value


def _json(content: bytes) -> JsonValue:
    """Raises Dead if the engine did not send JSON: its answers cannot be relied on."""
    try:
        value: JsonValue = orjson.loads(content)
        return value
    except orjson.JSONDecodeError:
        raise Dead(NOT_ITS_DIALECT) from None


def _error(content: bytes) -> Json:
    """The error in an answer with an error's status, in whatever form the engine sends it."""
    try:
        error = orjson.loads(content)
        if isinstance(error, str):  # MLC-LLM sends a JSON object in a JSON string
            error = orjson.loads(error)
    except orjson.JSONDecodeError:
        error = content[:200].decode(errors="replace")
    if isinstance(error, dict):
        error = error.get("error", error.get("detail", error.get("message")))
    return _named(error or "the engine gave no reason")


def _named(error: JsonValue) -> Json:
    return error if isinstance(error, dict) else {"message": error if isinstance(error, str) else str(error)}


def _is_last(event: Json) -> bool:
    return any(choice.get("finish_reason") for choice in choices(event))
