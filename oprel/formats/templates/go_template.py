"""Translates Ollama's Go prompt templates to Jinja chat templates over `messages`.

There are two styles. One iterates over `.Messages` and is translated directly. The older one formats a single turn of
`.System`, `.Prompt` and `.Response`: it becomes a macro that is called for each pair of user message and answer, and
once more for the open turn at the end, without what follows `.Response`.

All text is emitted as string literals, so a Jinja engine's whitespace settings do not matter.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from oprel.core.exceptions import ValidationError
from oprel.formats.templates.go_expression import Expression, Scope, Value, quoted, shown, unsupported

_ACTION = re.compile(r"\{\{(-(?=\s))?(.*?)((?<=\s)-)?\}\}", re.DOTALL)
_BLOCK = re.compile(r"(if|range|else|end)\b\s*(.*)", re.DOTALL)
_JINJA = re.compile(r"\{%|\{#|\{\{-?\s*(?:messages|bos_token)\b")


@dataclass(frozen=True)
class _Piece:
    """Literal text, or an action: the source between its braces."""

    source: str
    is_action: bool


@lru_cache(maxsize=64)
def is_jinja(text: str) -> bool:
    """Whether a template is already Jinja, which can do more than Go's, such as loop for hours or take all memory."""
    return _JINJA.search(text) is not None


def to_jinja(text: str) -> str:
    """`text` as Jinja; unchanged if it is Jinja already.

    Raises UnsupportedError, which names what cannot be translated, and ValidationError for an invalid template.
    """
    if is_jinja(text):
        return text
    try:
        return _translate(text)
    except RecursionError:
        raise ValidationError("template error: it is nested too deeply") from None


def _translate(text: str) -> str:
    pieces = list(_pieces(text))
    actions = [piece.source for piece in pieces if piece.is_action]
    if any(re.search(r"\.Messages\b", action) for action in actions):
        return _by_messages(pieces)
    if not any(re.search(r"\.Response\b", action) for action in actions):
        pieces.append(_Piece(".Response", True))
    return _by_turns(pieces)


def _by_messages(pieces: Sequence[_Piece]) -> str:
    root = {
        "Messages": Value("messages", as_json=True, is_list=True),
        "System": Value("root.system"),
        **dict.fromkeys(("Prompt", "Response", "Suffix"), Value("''")),
    }
    return SYSTEM_TEXT + _translated(pieces, root)


def _by_turns(pieces: Sequence[_Piece]) -> str:
    root = {name: Value(name.lower()) for name in ("System", "Prompt", "Response")} | {"Suffix": Value("''")}
    macros = {"turn": _translated(pieces, root), "opening": _translated(_cut(pieces), root)}
    defined = [f"{{% macro {name}(system, prompt, response) %}}{body}{{% endmacro %}}" for name, body in macros.items()]
    return "".join(defined) + TURNS


SYSTEM_TEXT = (
    "{% set root = namespace(system='') %}{% for m in messages %}{% if m.role == 'system' %}"
    "{% set root.system = root.system + ('\\n\\n' if root.system else '') + (m.content or '') %}{% endif %}{% endfor %}"
)
TURNS = (
    "{% set now = namespace(system='', prompt='', response='') %}"
    "{% for m in messages %}"
    "{% if (m.role == 'user' and now.response) or (m.role == 'system' and (now.prompt or now.response)) %}"
    "{{ turn(now.system, now.prompt, now.response) }}"
    "{% set now.system = '' %}{% set now.prompt = '' %}{% set now.response = '' %}{% endif %}"
    "{% if m.role == 'system' %}"
    "{% set now.system = now.system + ('\\n\\n' if now.system else '') + (m.content or '') %}"
    "{% elif m.role == 'assistant' %}"
    "{% set now.response = now.response + (m.content or '') %}"
    "{% else %}"
    "{% set now.prompt = now.prompt + ('\\n\\n' if now.prompt else '') + (m.content or '') %}{% endif %}"
    "{% endfor %}"
    "{{ opening(now.system, now.prompt, now.response) }}"
)


def _pieces(text: str) -> Iterator[_Piece]:
    """Literal texts and actions in order, with whitespace trimmed at `{{-` and `-}}`, without comments."""
    if "{{" in text[text.rfind("}}") + 1 :]:
        raise ValidationError("template error: a {{ is never closed")
    end, trim = 0, False
    for match in _ACTION.finditer(text):
        before = text[end : match.start()]
        before = before.lstrip() if trim else before
        yield _Piece(before.rstrip() if match[1] else before, False)
        if not match[2].strip().startswith("/*"):
            yield _Piece(match[2].strip(), True)
        end, trim = match.end(), bool(match[3])
    yield _Piece(text[end:].lstrip() if trim else text[end:], False)


def _cut(pieces: Sequence[_Piece]) -> list[_Piece]:
    """The pieces up to the first that outputs `.Response`, plus the ends of the blocks open there."""
    kept: list[_Piece] = []
    blocks = 0
    for piece in pieces:
        kept.append(piece)
        word = _BLOCK.match(piece.source) if piece.is_action else None
        blocks += {"if": 1, "range": 1, "end": -1}.get(word[1], 0) if word else 0
        if piece.is_action and not word and re.search(r"\.Response\b", piece.source):
            break
    return kept + [_Piece("end", True)] * blocks


def _translated(pieces: Sequence[_Piece], root: dict[str, Value]) -> str:
    builtins = {
        "Tools": Value("tools", as_json=True, is_list=True),
        "Think": Value("enable_thinking"),
        "ThinkLevel": Value("reasoning_effort"),
        "IsThinkSet": Value("(enable_thinking is defined)"),
    }
    return _Translation(pieces).block(Scope({**builtins, **root}, {}))[0]


class _Translation:
    """A single pass over the pieces of a template."""

    def __init__(self, pieces: Sequence[_Piece]) -> None:
        self._pieces = iter(pieces)

    def block(self, scope: Scope, *, inner: bool = False) -> tuple[str, str]:
        """The Jinja up to the end of the block, and the action that ends it: "end" or "else …"."""
        scope = replace(scope, variables=dict(scope.variables))
        made = []
        for piece in self._pieces:
            if not piece.is_action:
                made.append(_literal(piece.source))
            elif re.match(r"(else|end)\b", piece.source):
                if not inner:
                    raise ValidationError(f"template error: unexpected {{{{{piece.source}}}}}")
                return "".join(made), piece.source
            else:
                made.append(self._action(piece.source, scope))
        if inner:
            raise ValidationError("template error: a block is never ended")
        return "".join(made), ""

    def _action(self, source: str, scope: Scope) -> str:
        if block := _BLOCK.match(source):
            return self._if(block[2], scope) if block[1] == "if" else self._range(block[2], scope)
        if declared := re.fullmatch(r"\$(\w+)\s*:=\s*(.*)", source, re.DOTALL):
            name, value = f"v_{declared[1]}", Expression(declared[2], scope).value()
            scope.variables[declared[1]] = replace(value, jinja=name)
            return f"{{% set {name} = {value.jinja} %}}"
        return f"{{{{ {shown(Expression(source, scope).value())} }}}}"

    def _if(self, condition: str, scope: Scope) -> str:
        made, word = "", "if"
        while True:
            body, ended = self.block(scope, inner=True)
            made += f"{{% {word} {Expression(condition, scope).value().jinja} %}}{body}"
            if chained := re.fullmatch(r"else\s+if\s+(.*)", ended, re.DOTALL):
                word, condition = "elif", chained[1]
                continue
            if ended == "else":
                made += f"{{% else %}}{self._last(scope)}"
            elif ended != "end":
                raise unsupported(ended)
            return f"{made}{{% endif %}}"

    def _range(self, source: str, scope: Scope) -> str:
        match = re.fullmatch(r"(?:\$(\w+)\s*(?:,\s*\$(\w+))?\s*:=\s*)?(.*)", source, re.DOTALL)
        index, element, expression = match.groups() if match else (None, None, source)
        values = Expression(expression, scope).value()
        if not values.is_list:
            raise unsupported(f"range {source}")
        if index and not element:
            index, element = None, index
        item = Value(f"m{scope.depth}", as_json=True)
        inner = {element: item} if element else {}
        made = f"{{% for {item.jinja} in {values.jinja} %}}"
        if index:
            inner[index] = Value(f"i{scope.depth}")
            made += f"{{% set i{scope.depth} = loop.index0 %}}"
        within = Scope(scope.root, {**scope.variables, **inner}, item, scope.depth + 1)
        body, ended = self.block(within, inner=True)
        if ended != "end":
            body += f"{{% else %}}{self._last(scope)}"
        return f"{made}{body}{{% endfor %}}"

    def _last(self, scope: Scope) -> str:
        body, ended = self.block(scope, inner=True)
        if ended != "end":
            raise ValidationError(f"template error: unexpected {{{{{ended}}}}}")
        return body


def _literal(text: str) -> str:
    return f"{{{{ {quoted(text)} }}}}" if text else ""
