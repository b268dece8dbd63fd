"""The prompts of embedding models: what their authors put in front of a text, by the text's purpose. Pure.

Sources: `config_sentence_transformers.json` of each repository, or the README where that file has no prompts.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from oprel.formats.gguf import GGUFFile

# Keys of our own, in GGUF files that oprel converts.
NAMES, TEXTS, DEFAULT, NORMALISED = (
    *("oprel.prompt.names", "oprel.prompt.texts"),
    *("oprel.prompt.default", "oprel.normalised"),
)

# What authors and providers of APIs call the two purposes of a search.
QUERY = ("query", "search_query", "retrieval.query", "queries")
DOCUMENT = ("document", "search_document", "retrieval.passage", "passage", "documents", "text")
PURPOSES = (QUERY, DOCUMENT)


@dataclass(frozen=True)
class Prompts:
    """`texts` by name, "" for a purpose that needs none; `default` is the name of the one that every text gets."""

    texts: Mapping[str, str] = field(default_factory=dict)
    default: str = ""

    def __bool__(self) -> bool:
        return any(self.texts.values())

    def named(self, purpose: str) -> str | None:
        """The prompt for a purpose, by its name or that of another API; None if there is none.

        >>> Prompts({"query": "query: ", "passage": "passage: "}).named("search_document")
        'passage: '
        """
        same = next((names for names in PURPOSES if purpose.lower() in names), ())
        for name in (purpose, purpose.lower(), *same):
            if name in self.texts:
                return self.texts[name]
        return None

    @property
    def automatic(self) -> str:
        """What sentence-transformers puts in front of every text."""
        return self.texts.get(self.default, "")

    def begins(self, text: str) -> bool:
        """Whether a text has one of the prompts already, or one that begins alike: some end with a task of the user's.

        >>> Prompts({"query": "Instruct: Find passages\\nQuery: "}).begins("Instruct: Find code\\nQuery: sort")
        True
        """
        beginnings = (f"{prompt.partition(':')[0]}:" if ":" in prompt else prompt for prompt in self.texts.values())
        return any(beginning and text.startswith(beginning) for beginning in beginnings)

    def missing_in(self, texts: Iterable[str]) -> bool:
        """Whether one of the texts has no prompt, where the model expects one."""
        return bool(self) and not self.automatic and any(text.strip() and not self.begins(text) for text in texts)


@dataclass(frozen=True)
class _Family:
    """Models by a pattern of their architecture, or of the names in their header."""

    architecture: str
    name: str
    texts: Mapping[str, str]


INSTRUCT = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
BGE = {"query": "Represent this sentence for searching relevant passages: ", "document": ""}
_FAMILIES = (
    _Family(
        "nomic-bert.*",
        "",
        {
            "query": "search_query: ",
            "document": "search_document: ",
            "clustering": "clustering: ",
            "classification": "classification: ",
        },
    ),
    _Family(
        "gemma-embedding",
        "",
        {"query": "task: search result | query: ", "document": "title: none | text: "},
    ),
    _Family("", r"e5-mistral.*|multilingual-e5-\w+-instruct", {"query": INSTRUCT + " ", "document": ""}),
    _Family("", r"(?:multilingual-)?e5-(?:small|base|large)\S*", {"query": "query: ", "document": "passage: "}),
    _Family("", r"bge-(?:small|base|large)-en\S*", BGE),
    _Family("", r"mxbai-embed-(?:large|xsmall)\S*", BGE),
    _Family("", r"bge-(?:small|base|large)-zh\S*", {"query": "为这个句子生成表示以用于检索相关文章：", "document": ""}),
    _Family("", r"(?:snowflake-)?arctic-embed-\S*v2\S*", {"query": "query: ", "document": ""}),
    _Family("", r"(?:snowflake-)?arctic-embed\S*", BGE),
    _Family("", r"qwen3-embedding\S*", {"query": INSTRUCT, "document": ""}),
)


def prompts_of(header: GGUFFile) -> Prompts:
    """The prompts in a header that oprel wrote, else those of the family that its architecture and its names tell."""
    match header.metadata.get(NAMES), header.metadata.get(TEXTS):
        case (tuple(names), tuple(texts)):
            default = header.metadata.get(DEFAULT)
            return Prompts(dict(zip(map(str, names), map(str, texts), strict=False)), str(default or ""))
    return family_prompts(header.architecture, _names(header))


def family_prompts(architecture: str, names: Iterable[str]) -> Prompts:
    """The prompts of the family that an architecture, or one of a model's names, belongs to.

    >>> family_prompts("bert", ["E5 Small V2"]).named("query")
    'query: '
    """
    plain = [re.sub(r"[\s_/]+", "-", name.lower()) for name in names]
    for family in _FAMILIES:
        if family.architecture and re.fullmatch(family.architecture, architecture):
            return Prompts(family.texts)
        if family.name and any(re.search(rf"(?:^|-){family.name}", name) for name in plain):
            return Prompts(family.texts)
    return Prompts()


def prompt_metadata(prompts: Prompts) -> dict[str, str | tuple[str, ...]]:
    """The keys that tell the prompts; none for a model without."""
    if not prompts:
        return {}
    return {
        NAMES: tuple(prompts.texts),
        TEXTS: tuple(prompts.texts.values()),
        **({DEFAULT: prompts.default} if prompts.default else {}),
    }


def _names(header: GGUFFile) -> Iterable[str]:
    """What a header calls its model."""
    for key in ("general.name", "general.basename", "general.base_model.0.name"):
        value = header.metadata.get(key)
        if isinstance(value, str):
            yield value
