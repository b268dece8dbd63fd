"""An installed model: what its manifest and its header say of it."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import cached_property
from itertools import islice
from pathlib import Path

from oprel.core.completion import Mode
from oprel.core.exceptions import OprelError
from oprel.core.models.manifests import Manifest
from oprel.core.models.owners import owned_by
from oprel.formats.gguf import GGUFFile, SkippedArray, read_gguf
from oprel.formats.headers.other_header import OtherHeader
from oprel.formats.model_info import RANK_POOLING, ModelInfo, from_gguf
from oprel.formats.templates import go_template
from oprel.formats.templates.plain_frame import FRAME, is_prompt_only
from oprel.formats.templates.prompts import NORMALISED
from oprel.formats.templates.thinking import ThinkingTraits, thinking_of
from oprel.server.models.conventions import Conventions
from oprel.telemetry.memory.image_tokens import ImageTokens
from oprel.utils.text import harmless

MOST_TEXTS, LONGEST_TEXT = 32, 200
# llama.cpp's keys of the prefix, suffix and middle tokens of a gap, and those it used before September 2024.
FIM_KEYS = (
    ("fim_pre_token_id", "fim_suf_token_id", "fim_mid_token_id"),
    ("prefix_token_id", "suffix_token_id", "middle_token_id"),
)


@dataclass(frozen=True, kw_only=True)
class HeaderSummary:
    """What lists show of a header."""

    format: str
    architecture: str
    parameters: int | None
    quantization: str
    context_length: int | None
    embedding_length: int | None
    license: str = ""  # its short name
    tags: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class InstalledModel:
    """An installed model. `name` is the canonical name, `modified` the time of its newest file.

    `converted` is the GGUF file that an engine gets instead of a folder; it is made when one needs it (`convert`).
    `other_bytes` is the file size of adapters and projector; `projector_bytes` is the memory that reading images takes,
    `adapter_bytes` that of the adapters.
    """

    name: str
    manifest: Manifest
    header: GGUFFile
    modified: datetime
    other_bytes: int = 0
    projector_bytes: int = 0
    adapter_bytes: int = 0
    image_tokens: ImageTokens = ImageTokens()
    converted: Path | None = None

    @property
    def weights(self) -> Path:
        return self.manifest.weights

    @property
    def engine_file(self) -> Path:
        """What an engine is started with: the weights, or what they are converted to."""
        return self.converted or self.weights

    @property
    def info(self) -> ModelInfo:
        return self.header.info if isinstance(self.header, OtherHeader) else from_gguf(self.header)

    @property
    def header_summary(self) -> HeaderSummary:
        info = self.info
        return HeaderSummary(
            format=info.format,
            architecture=self.header.architecture,
            parameters=info.parameters,
            quantization=info.quantization,
            context_length=self.header.context_length,
            embedding_length=self.header.embedding_length,
            license=next(_texts(self.header.metadata.get("general.license")), ""),
            tags=tuple(_texts(self.header.metadata.get("general.tags"))),
            datasets=tuple(_datasets(self.header.metadata)),
        )

    @property
    def is_gguf(self) -> bool:
        """Whether engines get it as GGUF, which llama.cpp reads; else in Hugging Face's layout or a plugin's format."""
        return not isinstance(self.header, OtherHeader)

    @property
    def size_bytes(self) -> int:
        return self.header.size_bytes + self.other_bytes

    @property
    def changed(self) -> datetime:
        """When the model was created or changed: the time of its manifest, or of its file without one."""
        written = self.manifest.written
        return datetime.fromtimestamp(written).astimezone() if written else self.modified

    @property
    def source(self) -> str:
        """Where it was downloaded from, else the program that stores it."""
        return self.manifest.source or self.manifest.provider

    @property
    def digest(self) -> str:
        """64 hex digits that change with the manifest or the file; not of the content, which may be 100 GB to read.

        A copy has the digest of its source.
        """
        identity = asdict(replace(self.manifest, name="", source="", provider="oprel", chosen=0.0, written=0.0))
        del identity["also"]
        identity |= {"size": self.header.size_bytes, "modified": self.modified.isoformat()}
        return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()

    @cached_property
    def embeds_only(self) -> bool:
        return self.header.pooling_type is not None

    @property
    def usual_mode(self) -> Mode:
        """The mode to start an engine in if the request does not imply one."""
        return Mode.EMBEDDING if self.embeds_only else Mode.COMPLETION

    @property
    def reranks(self) -> bool:
        return self.header.pooling_type == RANK_POOLING

    @property
    def sees(self) -> bool:
        return self.manifest.projector is not None

    @property
    def vocabulary_size(self) -> int:
        """The number of tokens; 0 if unknown."""
        tokens = self.header.metadata.get("tokenizer.ggml.tokens")
        if isinstance(tokens, SkippedArray):
            return tokens.count
        return len(tokens) if isinstance(tokens, tuple) else 0

    @cached_property
    def bos_token(self) -> int | None:
        """The token at the beginning of a text."""
        token = self.header.metadata.get("tokenizer.ggml.bos_token_id")
        return token if isinstance(token, int) else None

    @cached_property
    def is_base(self) -> bool:
        """Whether it has no chat template: it continues texts."""
        if self.embeds_only:
            return False
        template = self.manifest.template
        return is_prompt_only(template) if template else not self.header.chat_template

    @cached_property
    def conventions(self) -> Conventions:
        """What holds for its prompts and answers where a request does not say."""
        return Conventions(self.manifest.parameters, self.header, self.chat_template, is_base=self.is_base)

    @cached_property
    def chat_template(self) -> str | None:
        """Jinja source: the manifest's template, or the file's if that is missing or cannot be translated.

        A base model has a plain frame. None: the engine assumes ChatML.
        """
        if self.is_base:
            return FRAME
        if self.manifest.template:
            try:
                return go_template.to_jinja(self.manifest.template)
            except OprelError:
                pass  # `create` warned the user
        return self.header.chat_template

    @property
    def notes(self) -> list[str]:
        """Notes for the user: about what it is made for, ignored parts of its manifest, its other names, its owner."""
        also = f"also known as {', '.join(self.manifest.also)}" if self.manifest.also else ""
        owner = owned_by(self.manifest)
        return [*self._notes_on_content, *filter(None, [also, owner])]

    @property
    def _notes_on_content(self) -> list[str]:
        if self.is_base:
            return ["base model: it continues your text; chats are put into a plain frame"]
        if self.header.metadata.get(NORMALISED) is False:
            return ["published without normalisation: with `normalize: false` its vectors keep their own length"]
        try:
            go_template.to_jinja(self.manifest.template)
        except OprelError as error:
            instead = "the model's own is used" if self.header.chat_template else "the engine's usual one is used"
            return [f"{error.message}: {instead}"]
        return []

    @cached_property
    def fim_tokens(self) -> tuple[int, int, int] | None:
        """The prefix, suffix and middle tokens for filling a gap; None if the model cannot."""
        for keys in FIM_KEYS:
            match [self.header.metadata.get(f"tokenizer.ggml.{key}") for key in keys]:
                case [int(before), int(after), int(middle)]:
                    return before, after, middle
        return None

    @cached_property
    def thinking(self) -> ThinkingTraits | None:
        """How it thinks; None if it does not."""
        return None if self.embeds_only else thinking_of(self.chat_template or "")

    @cached_property
    def capabilities(self) -> list[str]:
        if self.embeds_only:
            return ["rerank" if self.reranks else "embedding"]
        template = self.chat_template or ""
        supported = {
            "tools": "tools" in template,
            "thinking": self.thinking is not None,
            "insert": self.fim_tokens is not None,
            "vision": self.sees,
        }
        return ["completion", *(name for name, is_supported in supported.items() if is_supported)]


def with_every_array(model: InstalledModel) -> InstalledModel:
    """The model with the long arrays of its header, such as its tokens. Blocks to read them."""
    if not model.is_gguf or not model.header.path.exists():
        return model
    whole = read_gguf(model.header.path, every_array=True)
    return replace(model, header=replace(model.header, metadata=whole.metadata))


def _texts(value: object) -> Iterator[str]:
    """The texts of a value that a stranger wrote, at most MOST_TEXTS short ones."""
    values = value if isinstance(value, tuple) else (value,)
    texts = (harmless(text) for text in values if isinstance(text, str) and 0 < len(text) <= LONGEST_TEXT)
    return islice(texts, MOST_TEXTS)


def _datasets(metadata: Mapping[str, object]) -> Iterator[str]:
    """The data sets that a model was trained with: `general.dataset.N.name`, and `general.datasets` before 2024."""
    yield from _texts(metadata.get("general.datasets"))
    for number in range(MOST_TEXTS):
        yield from _texts(metadata.get(f"general.dataset.{number}.name"))
