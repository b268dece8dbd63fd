"""JSON that was cut off anywhere."""

import json

import orjson
import pytest

from oprel.utils.json.cut_json import closed_object

VALUE = {"city": 'Os"lo \\ €', "n": [1, -2.5e10, True, None, {"x": {"y": []}}], "b": False, "long key": "😀\n"}


@pytest.mark.parametrize("text", [json.dumps(VALUE), json.dumps(VALUE, ensure_ascii=False, indent=1)])
def test_every_beginning_of_an_object_is_an_object(text: str) -> None:
    for end in range(1, len(text)):
        closed = closed_object(text[:end])
        assert orjson.loads(orjson.dumps(closed)).keys() <= {
            *VALUE,
            *(key[:size] for key in VALUE for size in range(len(key))),
        }
    assert closed_object(text) == VALUE


def test_what_came_whole_stays() -> None:
    assert closed_object('{"path": "/a", "text": "line one\\nline t') == {"path": "/a", "text": "line one\nline t"}
    assert closed_object('{"a": {"b": [1, 2') == {"a": {"b": [1, 2]}}


@pytest.mark.parametrize("text", ["no JSON", "[1", '"{', '{"a": 1 "b', "}{", "{{"])
def test_text_that_begins_no_object_is_kept(text: str) -> None:
    assert closed_object(text) == {"arguments": text}
