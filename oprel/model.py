"""`Model`: one model, one object."""

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Literal, Self, TypeVar, Unpack, overload

from oprel.client.calls import ChatExtras, GenerateExtras, Messages
from oprel.client.inprocess import InProcessTransport
from oprel.client.types import AnyOptions, Message, options_set
from oprel.client_api import Client
from oprel.core.config import Config, load_config

Extras = TypeVar("Extras", GenerateExtras, ChatExtras)


class Model:
    """A model to work with, by name or path.

    With `use_server` (the default) it lives in the daemon, which is started when none runs; leaving a `with` block
    unloads it there, for others too. Without, the engine is run by this process and ends with it.

    >>> with Model("./tiny.gguf", use_server=False) as model:  # doctest: +SKIP
    ...     for piece in model.generate("hello", stream=True):
    ...         print(piece, end="")
    """

    def __init__(
        self,
        name: str,
        *,
        use_server: bool = True,
        options: AnyOptions | None = None,
        keep_alive: float | str | None = None,
        config: Config | None = None,
    ) -> None:
        """`options` go with every request; `keep_alive` is how long the model stays after the last one."""
        self.name = name
        self._options = options_set(options)
        self._keep_alive = keep_alive
        self._client = Client(config=config) if use_server else _own_engine(config or load_config())

    def load(self) -> Self:
        """Load the model and return when it is ready. Optional: the first request does it too."""
        self._client.load(self.name, options=self._options, keep_alive=self._keep_alive)
        return self

    def unload(self) -> None:
        self._client.unload(self.name)

    # fmt: off
    @overload
    def generate(self, prompt: str, suffix: str | None = None, *, stream: Literal[False] = False, **extras: Unpack[GenerateExtras]) -> str: ...  # noqa: E501
    @overload
    def generate(self, prompt: str, suffix: str | None = None, *, stream: Literal[True], **extras: Unpack[GenerateExtras]) -> Iterator[str]: ...  # noqa: E501
    # fmt: on
    def generate(
        self, prompt: str, suffix: str | None = None, *, stream: bool = False, **extras: Unpack[GenerateExtras]
    ) -> str | Iterator[str]:
        """The answer to a prompt, as text or as pieces of text; with a `suffix`, what stands between the two."""
        given = self._with_defaults(extras)
        if stream:
            return (piece.response for piece in self._client.generate(self.name, prompt, suffix, stream=True, **given))
        return self._client.generate(self.name, prompt, suffix, **given).response

    # fmt: off
    @overload
    def chat(self, messages: Messages, *, stream: Literal[False] = False, **extras: Unpack[ChatExtras]) -> Message: ...
    @overload
    def chat(self, messages: Messages, *, stream: Literal[True], **extras: Unpack[ChatExtras]) -> Iterator[str]: ...
    # fmt: on
    def chat(
        self, messages: Messages, *, stream: bool = False, **extras: Unpack[ChatExtras]
    ) -> Message | Iterator[str]:
        """The assistant's next message, or the pieces of its text."""
        given = self._with_defaults(extras)
        if stream:
            return (piece.message.content for piece in self._client.chat(self.name, messages, stream=True, **given))
        return self._client.chat(self.name, messages, **given).message

    def embed(self, input: str | Sequence[str]) -> Sequence[Sequence[float]]:
        """One L2-normalised vector an input."""
        return self._client.embed(self.name, input, options=self._options, keep_alive=self._keep_alive).embeddings

    def close(self) -> None:
        """Close the connection; an engine of this process is stopped."""
        self._client.close()

    def __enter__(self) -> Self:
        return self.load()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.unload()
        finally:
            self.close()

    def _with_defaults(self, extras: Extras) -> Extras:
        given = extras.copy()
        given["options"] = {**self._options, **options_set(extras.get("options"))}
        given.setdefault("keep_alive", self._keep_alive)
        return given


def _own_engine(config: Config) -> Client:
    return Client(config=config, transport=InProcessTransport(config))
