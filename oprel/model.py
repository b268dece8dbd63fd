"""`Model`: one model as one object."""

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Literal, Self, TypeVar, Unpack, overload

from oprel.client.calls import ChatExtras, GenerateExtras, Messages
from oprel.client.fetching import Progress
from oprel.client.inprocess import InProcessTransport
from oprel.client.shared.signatures import spelled_out
from oprel.client.types import (
    AnyOptions,
    AnyTool,
    Format,
    ImageSource,
    Message,
    OptionArguments,
    ToolChoice,
    options_set,
)
from oprel.client_api import Client
from oprel.core.config import Config, load_config
from oprel.core.exceptions import ConnectError, ModelNotFoundError, ValidationError
from oprel.core.names import ModelRef, NameKind, spellings
from oprel.core.request_options import option_named
from oprel.wire.daemon import EngineModel

Extras = TypeVar("Extras", GenerateExtras, ChatExtras)

READY = "ready"  # the state of an engine that answers


class Model:
    """A model, by name or path.

    With `use_server` (the default) it runs in the daemon, which is started if none runs; leaving a `with` block unloads
    it there, for other clients too. Without, this process runs the engine, and both end together.

    >>> with Model("./tiny.gguf", use_server=False, num_ctx=4096) as model:  # doctest: +SKIP
    ...     for piece in model.generate("hello", stream=True):
    ...         print(piece, end="")
    """

    @spelled_out
    def __init__(
        self,
        name: str,
        *,
        use_server: bool = True,
        options: AnyOptions | None = None,
        keep_alive: float | str | None = None,
        config: Config | None = None,
        fetch: bool = True,
        progress: Progress | None = None,
        **settings: Unpack[OptionArguments],
    ) -> None:
        """`keep_alive` is how long the model stays loaded after a request. `settings` are options by name.

        A model that is not installed is downloaded on its first use, unless `fetch` is false; `progress` is called with
        each step, which has a `status`, and the `total` and `completed` bytes of a file.

        A setting has Ollama's name, such as `num_ctx`, or llama.cpp's, such as `ctx_size` or `n_gpu_layers`. They and
        `options` go with every request, whose own options win. Raises ValidationError for an unknown setting.
        """
        self.name = name
        self._options = {**options_set(options), **_options_of(settings)}
        self._keep_alive = keep_alive
        self._use_server = use_server
        self._fetch, self._progress = fetch, progress
        self._installed = ""  # the name that was installed when it was last used
        self._closed = False
        self._client = Client(config=config) if use_server else _own_engine(config or load_config())

    def __repr__(self) -> str:
        settings = [f"{name}={value!r}" for name, value in self._options.items()]
        where = [] if self._use_server else ["in this process"]
        return f"<oprel.Model {', '.join([self.name, *settings, *where, *['closed'] * self._closed])}>"

    def load(self) -> Self:
        """Load the model, and return once it is ready. Optional: the first request does it too."""
        self._open_client.load(
            self.name,
            options=self._options,
            keep_alive=self._keep_alive,
            fetch=self._fetch,
            progress=self._progress,
        )
        self._installed = self.name
        return self

    def unload(self) -> None:
        """Unload the model, for other clients too, once its last answer is finished."""
        self._open_client.unload(self.name)

    def reload(self) -> Self:
        """Unload the model and load it again with the same settings; a model that is not loaded is loaded."""
        self.unload()
        return self.load()

    def is_running(self) -> bool:
        """True while the model is loaded under this name. Neither loads it nor starts a daemon."""
        try:
            engines = self._loaded_engines()
        except ConnectError:
            return False
        return any(engine.state == READY and _has_name(engine, self.name) for engine in engines)

    # fmt: off
    @overload
    def generate(
        self, prompt: str, suffix: str | None = None, *, stream: Literal[False] = False, system: str | None = None,
        template: str | None = None, context: Sequence[int] | None = None, raw: bool | None = None,
        images: Sequence[ImageSource] | None = None, width: int | None = None, height: int | None = None,
        steps: int | None = None, conversation_id: str | None = None, system_prompt: str | None = None,
        think: bool | str | None = None, logprobs: bool | None = None, top_logprobs: int | None = None,
        format: Format = None, options: AnyOptions | None = None, keep_alive: float | str | None = None,
        truncate: bool | None = None, shift: bool | None = None,
    ) -> str: ...
    @overload
    def generate(
        self, prompt: str, suffix: str | None = None, *, stream: Literal[True], system: str | None = None,
        template: str | None = None, context: Sequence[int] | None = None, raw: bool | None = None,
        images: Sequence[ImageSource] | None = None, width: int | None = None, height: int | None = None,
        steps: int | None = None, conversation_id: str | None = None, system_prompt: str | None = None,
        think: bool | str | None = None, logprobs: bool | None = None, top_logprobs: int | None = None,
        format: Format = None, options: AnyOptions | None = None, keep_alive: float | str | None = None,
        truncate: bool | None = None, shift: bool | None = None,
    ) -> Iterator[str]: ...
    # fmt: on
    @spelled_out
    def generate(
        self, prompt: str, suffix: str | None = None, *, stream: bool = False, **extras: Unpack[GenerateExtras]
    ) -> str | Iterator[str]:
        """The answer to a prompt, as text or as pieces of text; with a `suffix`, the text between the two.

        The arguments are those of `Client.generate`. With a `conversation_id`, the daemon remembers the conversation
        and the prompt continues it.
        """
        merged = self._with_defaults(extras)
        client = self._open_client
        if stream:
            pieces = client.generate(self.name, prompt, suffix, stream=True, **merged)
            return self._texts(piece.response for piece in pieces)
        self._ensure_installed()
        return client.generate(self.name, prompt, suffix, **merged).response

    # fmt: off
    @overload
    def chat(
        self, messages: Messages, *, stream: Literal[False] = False, tools: Sequence[AnyTool] | None = None,
        tool_choice: ToolChoice = None, think: bool | str | None = None, logprobs: bool | None = None,
        top_logprobs: int | None = None, format: Format = None, options: AnyOptions | None = None,
        keep_alive: float | str | None = None, truncate: bool | None = None, shift: bool | None = None,
    ) -> Message: ...
    @overload
    def chat(
        self, messages: Messages, *, stream: Literal[True], tools: Sequence[AnyTool] | None = None,
        tool_choice: ToolChoice = None, think: bool | str | None = None, logprobs: bool | None = None,
        top_logprobs: int | None = None, format: Format = None, options: AnyOptions | None = None,
        keep_alive: float | str | None = None, truncate: bool | None = None, shift: bool | None = None,
    ) -> Iterator[str]: ...
    # fmt: on
    @spelled_out
    def chat(
        self, messages: Messages, *, stream: bool = False, **extras: Unpack[ChatExtras]
    ) -> Message | Iterator[str]:
        """The assistant's next message, or the pieces of its text. The arguments are those of `Client.chat`."""
        merged = self._with_defaults(extras)
        client = self._open_client
        if stream:
            pieces = client.chat(self.name, messages, stream=True, **merged)
            return self._texts(piece.message.content for piece in pieces)
        self._ensure_installed()
        return client.chat(self.name, messages, **merged).message

    def embed(self, input: str | Sequence[str]) -> Sequence[Sequence[float]]:
        """One L2-normalised vector per input."""
        self._ensure_installed()
        return self._open_client.embed(self.name, input, options=self._options, keep_alive=self._keep_alive).embeddings

    def close(self) -> None:
        """Close the connection, and stop an engine of this process: such a model cannot be used again."""
        self._closed = True
        self._client.close()

    def __enter__(self) -> Self:
        return self.load()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._closed:
            return
        try:
            self.unload()
        finally:
            self.close()

    @property
    def _open_client(self) -> Client:
        """The client; a closed one of a daemon connects again. Raises ConnectError if the engine was closed."""
        if self._closed and not self._use_server:
            raise ConnectError(f"the model {self.name} is closed", "Make another one: `oprel.Model(...)`.")
        self._closed = False
        return self._client

    def _texts(self, pieces: Iterator[str]) -> Iterator[str]:
        """The pieces with text: there is none while the model thinks."""
        self._ensure_installed()
        yield from filter(None, pieces)

    def _ensure_installed(self) -> None:
        """Load a model that is not installed, which downloads it. Raises ModelNotFoundError."""
        if self._installed == self.name:
            return
        try:
            self._open_client.show(self.name)
        except ModelNotFoundError:
            self.load()
        self._installed = self.name

    def _with_defaults(self, extras: Extras) -> Extras:
        merged = extras.copy()
        merged["options"] = {**self._options, **options_set(extras.get("options"))}
        merged.setdefault("keep_alive", self._keep_alive)
        return merged

    def _loaded_engines(self) -> Sequence[EngineModel]:
        """Raises ConnectError if no daemon runs."""
        if not self._use_server:
            return self._client.engines().models
        with Client(config=self._client.config, start=False) as client:
            return client.engines().models


def _own_engine(config: Config) -> Client:
    return Client(config=config, transport=InProcessTransport(config))


def _options_of(settings: Mapping[str, object]) -> dict[str, object]:
    """Settings as options, under Ollama's names. Raises ValidationError for an unknown one, or for two names of one."""
    options: dict[str, object] = {}
    for setting, value in settings.items():
        name = option_named(setting).name
        if name in options:
            raise ValidationError(f"{name} is set twice: {setting} is another name of it", "Leave one of them out.")
        if value is not None:
            options[name] = value
    return options


def _has_name(engine: EngineModel, name: str) -> bool:
    model = ModelRef.parse(name)
    if model.kind is NameKind.PATH and model.text == engine.path:
        return True
    return any(model.key in spellings(ModelRef.parse(other)) for other in engine.names)
