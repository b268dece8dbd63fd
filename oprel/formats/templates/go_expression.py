"""Translates expressions of Go templates to Jinja expressions."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from oprel.core.exceptions import UnsupportedError, ValidationError

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:\\.|[^"\\])*"|`[^`]*`)|(?P<number>-?\d+(?:\.\d+)?)|(?P<variable>\$\w*(?:\.\w+)*)"""
    r"""|(?P<field>\.\w+(?:\.\w+)*|\.)|(?P<word>\w+)|(?P<sign>:=|\)(?:\.\w+)*|[(|,=]))""",
    re.ASCII,
)

# Go's field names of a message, a tool or a call, and the fields whose values print as JSON.
FIELDS = {
    "Role": "role",
    "Content": "content",
    "Thinking": "reasoning_content",
    "ToolCalls": "tool_calls",
    "ToolName": "name",
    "ToolCallID": "tool_call_id",
    "ID": "id",
    "Type": "type",
    "Function": "function",
    "Name": "name",
    "Arguments": "arguments",
    "Description": "description",
    "Parameters": "parameters",
}
JSON_FIELDS = {"ToolCalls", "Function", "Arguments", "Parameters"}
SIGNS = {"ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


@dataclass(frozen=True)
class Value:
    """A Jinja expression. `as_json`: Go prints its value as JSON; `is_list`: `range` can iterate over it."""

    jinja: str
    as_json: bool = False
    is_list: bool = False


@dataclass(frozen=True)
class Scope:
    """The meaning of names. `dot` is None at the root; `variables` are stored without `$`."""

    root: dict[str, Value]
    variables: dict[str, Value]
    dot: Value | None = None
    depth: int = 0


class Expression:
    """A Go pipeline: operands, functions before their operands, `|`."""

    def __init__(self, source: str, scope: Scope) -> None:
        self._source = source.strip()
        self._scope = scope
        self._tokens = self._split()

    def value(self) -> Value:
        value = self._pipeline()
        if self._tokens:
            raise unsupported(self._source)
        return value

    def _split(self) -> list[tuple[str, str]]:
        tokens, position = [], 0
        while position < len(self._source):
            match = _TOKEN.match(self._source, position)
            if match is None or match.lastgroup is None:
                raise unsupported(self._source)
            tokens.append((match.lastgroup, match[match.lastgroup]))
            position = match.end()
        return tokens

    def _pipeline(self) -> Value:
        value = self._command([])
        while self._tokens and self._tokens[0][1] == "|":
            self._tokens.pop(0)
            value = self._command([value])
        return value

    def _command(self, piped: list[Value]) -> Value:
        if not self._tokens:
            raise ValidationError(f"template error: {{{{{self._source}}}}} lacks a value")
        kind, text = self._tokens[0]
        if kind == "word" and text not in ("true", "false", "nil"):
            self._tokens.pop(0)
            return self._call(text, [*self._operands(), *piped])
        if piped:
            raise unsupported(self._source)
        return self._operand()

    def _operands(self) -> list[Value]:
        operands = []
        while self._tokens and self._tokens[0][1][0] not in ")|":
            operands.append(self._operand())
        return operands

    def _operand(self) -> Value:
        kind, text = self._tokens.pop(0)
        match kind:
            case "text":
                return Value(quoted(_unquoted(text)))
            case "number":
                return Value(text)
            case "variable":
                return self._variable(text)
            case "field":
                return self._field(text)
            case "word" if text in ("true", "false", "nil"):
                return Value({"nil": "none"}.get(text, text))
            case "sign" if text == "(":
                return self._bracket()
        raise unsupported(self._source)

    def _bracket(self) -> Value:
        """The expression after an opening bracket, up to the closing one and the fields that follow it."""
        value = self._pipeline()
        closing = self._tokens.pop(0)[1] if self._tokens else ""
        if not closing.startswith(")"):
            raise ValidationError(f"template error: unclosed bracket in {{{{{self._source}}}}}")
        return self._within(replace(value, jinja=f"({value.jinja})"), closing.split(".")[1:])

    def _variable(self, text: str) -> Value:
        name, *path = text[1:].split(".")
        if not name:
            return self._rooted(path)
        if name not in self._scope.variables:
            raise ValidationError(f"template error: undefined variable ${name}")
        return self._within(self._scope.variables[name], path)

    def _field(self, text: str) -> Value:
        path = [part for part in text.split(".") if part]
        return self._within(self._scope.dot, path) if self._scope.dot else self._rooted(path)

    def _rooted(self, path: Sequence[str]) -> Value:
        if not path or path[0] not in self._scope.root:
            raise unsupported(self._source)
        return self._within(self._scope.root[path[0]], path[1:])

    def _within(self, value: Value, path: Sequence[str]) -> Value:
        for name in path:
            if name not in FIELDS:
                raise unsupported(self._source)
            jinja = f"{value.jinja}.{FIELDS[name]}"
            value = Value(jinja, name in JSON_FIELDS, name == "ToolCalls")
            if name == "Content":  # null beside tool calls
                value = Value(f"({jinja} or '')")
        return value

    def _call(self, name: str, operands: list[Value]) -> Value:
        texts = [operand.jinja for operand in operands]
        match name, texts:
            case "eq", [first, _, *_]:
                return Value(f"({' or '.join(f'{first} == {other}' for other in texts[1:])})")
            case (("ne" | "lt" | "le" | "gt" | "ge"), [first, second]):
                return Value(f"({first} {SIGNS[name]} {second})")
            case (("and" | "or"), [_, *_]):
                return Value(f"({f' {name} '.join(texts)})")
            case "not", [only]:
                return Value(f"(not {only})")
            case "len", [only]:
                return Value(f"({only} | length)")
            case "index", [values, number]:
                return Value(f"{values}[{number}]", as_json=operands[0].as_json)
            case "slice", [values, *bounds] if len(bounds) in (1, 2):
                return replace(operands[0], jinja=f"{values}[{':'.join([*bounds, ''][:2])}]")
            case (("json" | "toJson"), [only]):
                return Value(f"({only} | tojson)")
        raise unsupported(f"{name} …" if texts else name)


def shown(value: Value) -> str:
    if not value.as_json:
        return value.jinja
    return f"({value.jinja} if {value.jinja} is string else {value.jinja} | tojson)"


def quoted(text: str) -> str:
    """A Jinja string literal."""
    return json.dumps(text, ensure_ascii=False)


def _unquoted(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]
    try:
        return str(json.loads(text))
    except ValueError as error:
        raise unsupported(text) from error


def unsupported(what: str) -> UnsupportedError:
    return UnsupportedError(
        f"the template has {{{{ {what} }}}}, which cannot be translated",
        "Leave the template out to use the model's own, or give it as Jinja.",
    )
