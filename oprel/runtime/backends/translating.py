"""The transport for an engine of another dialect: translates each request and answer."""

from collections.abc import Callable

import orjson
from pydantic import JsonValue

from oprel.runtime.backends.dialect import Call, Dead, Dialect, Json, Unknown, choices
from oprel.runtime.backends.openai.answers import NOT_ITS_DIALECT
from oprel.runtime.http import Answer, ConnectionBroken, EngineTransport, Reply, read_all

COMPLETIONS = ("/v1/completions", "/v1/chat/completions")
DONE = b"data: [DONE]\n\n"


class Translating:
    """Takes llama-server's requests and gives llama-server's answers. Calls `on_death` when the engine reports it.

    It limits answers to the `context`, in tokens: other engines refuse requests for more, or never stop.
    """

    def __init__(
        self, engine: EngineTransport, dialect: Dialect, context: int, on_death: Callable[[str], None]
    ) -> None:
        self._engine = engine
        self._dialect = dialect
        self._context = context
        self._on_death = on_death

    async def send(self, method: str, path: str, body: bytes) -> Answer:
        if method == "GET":
            return await self._engine.send(method, path, body)
        try:
            return await self._translated(path, orjson.loads(body))
        except _Refused as refusal:
            return _Whole(refusal.status, refusal.reply)
        except Unknown as unknown:
            message = f"this engine cannot {unknown}"
            return _Whole(501, {"error": {"code": 501, "message": message, "type": "not_supported_error"}})
        except Dead as death:
            raise self._lost(death) from death

    def close(self) -> None:
        self._engine.close()

    def event(self, content: bytes) -> Json:
        """An event of a stream in llama-server's dialect. Raises ConnectionBroken for one that reports a death."""
        try:
            event = _object(content)
            if "error" in event:
                return {"error": self._dialect.error(500, _named(event["error"]))}
            return self._dialect.event(event)
        except Dead as death:
            raise self._lost(death) from death

    async def _translated(self, path: str, body: Json) -> Answer:
        dialect = self._dialect
        if path in COMPLETIONS:
            return await self._completion(path, body)
        match path:
            case "/tokenize":
                return _Whole(200, {"tokens": dialect.tokens(await self._ask(dialect.tokenize(body)))})
            case "/detokenize":
                return _Whole(200, {"content": await self._text(body)})
            case "/apply-template":
                tokens = dialect.tokens(await self._ask(dialect.template(body)))
                return _Whole(200, {"prompt": await self._text({"tokens": tokens})})
        return _Whole(200, await self._ask(dialect.other(path, body)))

    async def _text(self, body: Json) -> JsonValue:
        return self._dialect.text(await self._ask(self._dialect.detokenize(body)))

    async def _completion(self, path: str, body: Json) -> Answer:
        dialect, prompt = self._dialect, body.get("prompt")
        if isinstance(prompt, list) and not all(isinstance(part, int) for part in prompt):
            body = {**body, "prompt": await self._flat(prompt)}
        most, context = body.get("max_tokens"), self._context
        if isinstance(most, int) and not 0 <= most <= context:
            body = {**body, "max_tokens": context}
            if dialect.fills_context:
                del body["max_tokens"]
        answer = await self._send(dialect.completion(path, body))
        if answer.status >= 400:
            raise self._refused(await _whole(answer))
        return _Events(self, answer, says_done=dialect.says_done)

    async def _flat(self, prompt: list[JsonValue]) -> list[JsonValue]:
        """Convert a prompt of texts and tokens to tokens only."""
        flat = list[JsonValue]()
        for part in prompt:
            if isinstance(part, int):
                flat.append(part)
            else:
                body: Json = {"content": part, "add_special": not flat, "parse_special": True}
                tokens = self._dialect.tokens(await self._ask(self._dialect.tokenize(body)))
                flat += tokens if isinstance(tokens, list) else []
        # A rendered template may begin with the token that the engine adds itself.
        return flat[1:] if flat[:1] and flat[:1] == flat[1:2] and isinstance(prompt[0], str) else flat

    async def _ask(self, call: Call) -> JsonValue:
        """The engine's answer to one call. Raises _Refused."""
        reply = await _whole(await self._send(call))
        if reply.is_error:
            raise self._refused(reply)
        return _json(reply.content)

    async def _send(self, call: Call) -> Answer:
        return await self._engine.send("POST", call.path, orjson.dumps(call.body))

    def _refused(self, reply: Reply) -> "_Refused":
        """Raises Dead if the error says that the engine cannot continue."""
        return _Refused(reply.status, {"error": self._dialect.error(reply.status, _error(reply.content))})

    def _lost(self, death: Dead) -> ConnectionBroken:
        self._on_death(str(death))
        return ConnectionBroken(str(death))


class _Whole:
    """An answer that was made at once."""

    def __init__(self, status: int, content: JsonValue) -> None:
        self.status = status
        self._content = orjson.dumps(content)

    async def read(self) -> bytes:
        content, self._content = self._content, b""
        return content

    def close(self) -> None:
        """There is no connection."""


class _Events:
    """The events of the engine's `answer`, translated. A stream that breaks off gets no `[DONE]`.

    With `says_done` the engine ends a stream with `[DONE]`; otherwise with an event that has a `finish_reason`.
    """

    status = 200

    def __init__(self, dialect: Translating, answer: Answer, *, says_done: bool) -> None:
        self._dialect = dialect
        self._answer = answer
        self._says_done = says_done
        self._rest = b""
        self._ended = False

    async def read(self) -> bytes:
        while data := await self._answer.read():
            *blocks, self._rest = (self._rest + data).replace(b"\r\n", b"\n").split(b"\n\n")
            if translated := b"".join(self._translated(block) for block in blocks):
                return translated
        ended, self._ended = self._ended, False
        return DONE if ended else b""

    def close(self) -> None:
        self._answer.close()

    def _translated(self, block: bytes) -> bytes:
        if block == DONE.strip():
            self._ended = True
        if block == DONE.strip() or not block.startswith(b"data:"):
            return b""
        event = self._dialect.event(block.partition(b":")[2])
        self._ended |= not self._says_done and _is_last(event)
        return b"data: " + orjson.dumps(event) + b"\n\n"


class _Refused(Exception):
    """The engine refused a call; `reply` is the error."""

    def __init__(self, status: int, reply: JsonValue) -> None:
        super().__init__()
        self.status = status
        self.reply = reply


async def _whole(answer: Answer) -> Reply:
    try:
        return Reply(answer.status, await read_all(answer))
    finally:
        answer.close()


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
