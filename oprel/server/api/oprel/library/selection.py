"""Which rows of the library a request selects, in which order. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from oprel.core.exceptions import ValidationError
from oprel.wire.library import LibraryModel, ModelStatus

STATUSES: tuple[str, ...] = get_args(ModelStatus)
LOCAL = frozenset(STATUSES) - {"available", "downloading"}
STATUS_GROUPS: Mapping[str, frozenset[str]] = {
    "local": frozenset(("installed", "loaded")),
    "error": frozenset(("damaged",)),
}
# The words that other programs use.
CAPABILITIES = {
    "chat": "completion",
    "text": "completion",
    "generate": "completion",
    "text-generation": "completion",
    "embed": "embedding",
    "embeddings": "embedding",
    "image": "vision",
    "images": "vision",
    "tool": "tools",
    "tool_use": "tools",
    "function_calling": "tools",
    "reasoning": "thinking",
    "infill": "insert",
    "fim": "insert",
    "reranking": "rerank",
}
ENGINES = {"llama-cpp": "llama.cpp", "llamacpp": "llama.cpp", "llama_cpp": "llama.cpp", "llama-server": "llama.cpp"}
MOST_ON_PAGE = 1000
PAGE_ROWS = 50

Key = Callable[[LibraryModel], tuple[bool, object]]


def _last(value: object) -> tuple[bool, object]:
    """A key that sorts what is missing to the end."""
    return value is None, value if value is not None else ""


ORDERS: Mapping[str, Key] = {
    "name": lambda model: _last(model.name.lower()),
    "size": lambda model: _last(model.size),
    "modified": lambda model: _last(model.modified_at),
    "last_used": lambda model: _last(model.last_used),
    "status": lambda model: _last(model.status),
    "source": lambda model: _last(model.source),
}


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The wanted values of each field; any where a set is empty. A model has all `capabilities` and all `words`.

    `order`: a name in ORDERS, or "" for the newest first; `descending` reverses it. `page` counts from 1; 0 means all.
    """

    sources: frozenset[str] = frozenset()
    served_by: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()
    capabilities: frozenset[str] = frozenset()
    words: tuple[str, ...] = ()
    order: str = ""
    descending: bool = False
    page: int = 0
    page_rows: int = PAGE_ROWS

    @property
    def lists_available(self) -> bool:
        """Models that are not here are listed on request only."""
        return "available" in self.statuses

    @property
    def lists_local(self) -> bool:
        return not self.statuses or bool(self.statuses - {"available"})

    @property
    def has_only_plain_filters(self) -> bool:
        """Whether rows that were encoded before can be used as they are."""
        return not (self.words or self.order or self.page or self.served_by)

    def matches(self, model: LibraryModel) -> bool:
        """Whether it is wanted, whatever its status."""
        return self.fits(model.provider, model.capabilities) and self._fits_rest(model)

    def wants(self, model: LibraryModel) -> bool:
        return self.wants_status(model.status) and self.matches(model)

    def wants_status(self, status: str) -> bool:
        return status in self.statuses if self.statuses else status != "available"

    def fits(self, source: str, capabilities: Iterable[str]) -> bool:
        return (not self.sources or source in self.sources) and self.capabilities <= set(capabilities)

    def _fits_rest(self, model: LibraryModel) -> bool:
        if self.served_by and model.served_by not in self.served_by:
            return False
        text = " ".join(filter(None, (model.name, model.family, model.origin, model.description, *model.aliases)))
        return all(word in text.lower() for word in self.words)

    def page_of(self, rows: Sequence[LibraryModel]) -> Sequence[LibraryModel]:
        """The rows in order, or those of the page."""
        if key := ORDERS.get(self.order):
            present = sorted((row for row in rows if not key(row)[0]), key=key, reverse=self.descending)
            rows = [*present, *(row for row in rows if key(row)[0])]
        if not self.page:
            return rows
        return rows[(self.page - 1) * self.page_rows : self.page * self.page_rows]


def selection(query: Mapping[str, str]) -> Selection:
    """The selection of a query string. Unknown parameters are ignored. Raises ValidationError."""
    statuses = _values(query.get("status", ""))
    if unknown := statuses - {*STATUSES, *STATUS_GROUPS}:
        raise ValidationError(f"there is no status {min(unknown)!r}", f"Use {', '.join((*STATUSES, *STATUS_GROUPS))}.")
    order = query.get("sort", "").strip()
    if order.lstrip("-") not in ("", *ORDERS):
        raise ValidationError(f"there is no order {order!r}", f"Use {', '.join(ORDERS)}, or one with - before it.")
    return Selection(
        sources=_values(query.get("source", "")) | _values(query.get("provider", "")),
        served_by=frozenset(ENGINES.get(name.lower(), name) for name in _values(query.get("served_by", ""))),
        statuses=frozenset().union(*(STATUS_GROUPS.get(status, {status}) for status in statuses)),
        capabilities=frozenset(CAPABILITIES.get(name.lower(), name) for name in _values(query.get("capability", ""))),
        words=tuple(query.get("q", "").lower().split()),
        order=order.lstrip("-"),
        descending=order.startswith("-"),
        page=_number(query, "page", 0, 10**6),
        page_rows=_number(query, "per_page", PAGE_ROWS, MOST_ON_PAGE),
    )


def _values(text: str) -> frozenset[str]:
    return frozenset(value.strip() for value in text.split(",") if value.strip())


def _number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= most):
        raise ValidationError(f"{name} must be a number from 1 to {most}")
    return int(text)
