"""Types of the clients only: arguments of calls, and answers in the form of Ollama's client.

>>> Message(role="user", content="hi", images=[b"..."]).images
['Li4u']
>>> Options(temperature=0, stop=["."])["stop"]
['.']
"""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypedDict

from pydantic import ByteSize, ConfigDict, Field, JsonValue, ValidationInfo, field_validator

from oprel import api_models as wire
from oprel.core.exceptions import OprelError, ValidationError

# Names in Ollama's client. Every error from a daemon is a ResponseError, with its `status_code`.
ResponseError = OprelError
RequestError = ValidationError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


class Open(wire.Wire):
    """Keeps unknown keys: the daemon may be newer than this client."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)


class Options(Open):
    """Options of a request; a plain mapping works too. An option that is not set has the model's or daemon's default.

    Written out for type checkers; `oprel.core.request_options` explains each, and a test keeps the two equal.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repeat_last_n: int | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    num_predict: int | None = None
    num_keep: int | None = None
    stop: Sequence[str] | None = None
    ignore_eos: bool | None = None
    runaway_guard: bool | None = None
    num_ctx: int | None = None
    num_batch: int | None = None
    num_gpu: int | None = None
    main_gpu: int | None = None
    num_thread: int | None = None
    use_mmap: bool | None = None


class OptionArguments(TypedDict, total=False):
    """The options as arguments of `Model`, each under all of its names; a test keeps them equal."""

    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    typical_p: float | None
    repeat_last_n: int | None
    repeat_penalty: float | None
    presence_penalty: float | None
    frequency_penalty: float | None
    seed: int | None
    num_predict: int | None
    n_predict: int | None
    max_tokens: int | None
    num_keep: int | None
    n_keep: int | None
    stop: Sequence[str] | None
    ignore_eos: bool | None
    runaway_guard: bool | None
    num_ctx: int | None
    ctx_size: int | None
    n_ctx: int | None
    num_batch: int | None
    n_batch: int | None
    batch_size: int | None
    num_gpu: int | None
    n_gpu_layers: int | None
    main_gpu: int | None
    num_thread: int | None
    n_threads: int | None
    use_mmap: bool | None


class Image(wire.Wire):
    """An image: the path of a file, bytes, or base64 text."""

    value: str | bytes | Path

    def base64(self) -> str:
        """Raises RequestError if it is not one of these, OSError if the file cannot be read."""
        if isinstance(self.value, bytes):
            return base64.b64encode(self.value).decode()
        if isinstance(self.value, Path) or _is_file(self.value):
            return base64.b64encode(Path(self.value).read_bytes()).decode()
        if self.value.lower().endswith(IMAGE_SUFFIXES):
            raise RequestError(f"no image at {self.value}", "Check the path.")
        try:
            base64.b64decode(self.value, validate=True)
        except binascii.Error as error:
            raise RequestError("an image is neither a file nor base64", "Pass its path or its bytes.") from error
        return self.value


ImageSource = Image | str | bytes | PathLike[str]


def encoded(image: ImageSource) -> str:
    """The image in base64."""
    if not isinstance(image, Image):
        image = Image(value=Path(image) if isinstance(image, PathLike) else image)
    return image.base64()


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for a path, so it is base64
        return False


class Message(wire.OllamaMessage):
    """A message of a conversation. `images` may be paths, bytes or base64, and are kept as base64."""

    class ToolCall(wire.OllamaToolCall):
        class Function(wire.ToolFunction):
            arguments: dict[str, Any] = {}  # not JsonValue: type checkers accept `function(**arguments)`

        function: Function

    images: list[Any] | None = None
    tool_calls: Sequence[ToolCall] | None = None  # type: ignore[assignment]  # of a subtype, to be read

    @field_validator("images", mode="before")
    @classmethod
    def _encoded(cls, images: Sequence[ImageSource] | None, info: ValidationInfo) -> Sequence[ImageSource] | None:
        # An answer of the daemon (mode json) never names files of this machine.
        return images and [encoded(image) for image in images] if info.mode == "python" else images


class Tool(Open):
    """A tool that the model may call: its name, description, and the JSON schema of its arguments."""

    class Function(Open):
        class Parameters(Open):
            class Property(Open):
                type: str | Sequence[str] | None = None
                items: JsonValue = None
                description: str | None = None
                enum: Sequence[JsonValue] | None = None

            type: str | None = "object"
            defs: JsonValue = Field(None, alias="$defs")
            items: JsonValue = None
            required: Sequence[str] | None = None
            properties: Mapping[str, Property] | None = None

        name: str | None = None
        description: str | None = None
        parameters: Parameters | None = None

    type: str | None = "function"
    function: Function | None = None


AnyMessage = Mapping[str, Any] | wire.OllamaMessage
AnyOptions = Mapping[str, Any] | Options
AnyTool = Mapping[str, Any] | Tool | Callable[..., object]
Format = Literal["", "json"] | Mapping[str, Any] | None  # the second: a JSON schema
ToolChoice = str | Mapping[str, Any] | None  # as in OpenAI's API


def options_set(options: AnyOptions | None) -> dict[str, Any]:
    """The options that have a value."""
    return options.model_dump(exclude_none=True) if isinstance(options, Options) else dict(options or {})


class ChatResponse(wire.OllamaChatResponse):
    """An answer of a chat, or a piece of one."""

    message: Message


class ListResponse(wire.Wire):
    """The installed models."""

    class Model(wire.ListedModel):
        modified_at: datetime  # type: ignore[assignment]  # text on the wire
        size: ByteSize

    models: Sequence[Model]


class ProcessResponse(wire.Wire):
    """The loaded models."""

    class Model(wire.RunningModel):
        expires_at: datetime  # type: ignore[assignment]  # text on the wire
        size: ByteSize
        size_vram: ByteSize

    models: Sequence[Model]


class ShowResponse(wire.OllamaShowResponse):
    """Details of a model. `modelinfo` is what Ollama's client calls `model_info`."""

    modified_at: datetime  # type: ignore[assignment]  # text on the wire

    @property
    def modelinfo(self) -> dict[str, JsonValue]:
        return self.model_info

    def get(self, key: str, default: Any = None) -> Any:
        return super().get("model_info" if key == "modelinfo" else key, default)


class StatusResponse(wire.Wire):
    """The answer of calls that return nothing else."""

    status: str | None = None
