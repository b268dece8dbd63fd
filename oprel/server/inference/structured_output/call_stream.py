"""A call of a tool that a model writes as JSON, in parts as an engine would send them. Pure."""

import re
from dataclasses import dataclass, field

import orjson

from oprel.core.completion import Chunk, ToolCall, new_call_id

BEGINNING = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(?=\{)')


@dataclass
class CallStream:
    """The text `{"name": …, "arguments": {…}}` of answer `index`, as received so far."""

    index: int
    text: str = ""
    _id: str = field(default_factory=new_call_id)
    _sent: int = 0  # characters of the text, up to the end of the arguments; 0 before the name is complete
    _depth: int = 0  # of the arguments' brackets
    _in_string: bool = False
    _escaped: bool = False

    def add(self, text: str) -> bytes:
        """The event with what the text adds to the call; empty where that is nothing."""
        self.text += text
        function: dict[str, str] = {}
        if not self._sent:
            if not (beginning := BEGINNING.match(self.text)):
                return b""
            self._sent = beginning.end()
            function = {"name": orjson.loads(beginning[1])}
        elif not self._depth:
            return b""
        arguments = self._arguments()
        if not function:
            return self._event({"arguments": arguments}) if arguments else b""
        return self._event({**function, "arguments": arguments}, begins=True)

    def finish(self) -> Chunk:
        """The complete call; its event has the parts that were not sent, and the end."""
        answer = orjson.loads(self.text)
        call = ToolCall(self._id, answer["name"], answer["arguments"])
        end = {"index": self.index, "delta": {}, "finish_reason": "tool_calls"}
        function = {"name": call.name, "arguments": orjson.dumps(call.arguments).decode()}
        event = _event(end) if self._sent else _event(self._choice(function, begins=True), end)
        return Chunk(tool_calls=(call,), index=self.index, event=event)

    def _arguments(self) -> str:
        """The arguments in the text that was not sent yet."""
        start = self._sent
        for character in self.text[start:]:
            self._sent += 1
            self._scan(character)
            if not self._depth:
                break
        return self.text[start : self._sent]

    def _scan(self, character: str) -> None:
        if self._escaped:
            self._escaped = False
        elif self._in_string:
            self._escaped, self._in_string = character == "\\", character != '"'
        elif character == '"':
            self._in_string = True
        else:
            self._depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(character, 0)

    def _choice(self, function: dict[str, str], *, begins: bool) -> dict[str, object]:
        head = {"id": self._id, "type": "function"} if begins else {}
        delta = {"tool_calls": [{"index": 0, **head, "function": function}]}
        return {"index": self.index, "delta": delta, "finish_reason": None}

    def _event(self, function: dict[str, str], *, begins: bool = False) -> bytes:
        return _event(self._choice(function, begins=begins))


def _event(*choices: dict[str, object]) -> bytes:
    return orjson.dumps({"choices": choices})
