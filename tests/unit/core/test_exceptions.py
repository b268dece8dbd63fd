"""The tree of errors, and that an error is the same on both ends of the wire."""

import pickle
import re
import traceback

import pytest

from oprel.client import calls
from oprel.core import exceptions
from oprel.core.exceptions import ConnectError, InvalidModelError, OprelError, error_classes
from oprel.server.api.common.errors import ErrorEncoder, error_response
from oprel.server.api.ollama.errors import encode_error as ollama_form
from oprel.server.api.oprel.errors import encode_error as own_form

CLASSES = [cls for cls in vars(exceptions).values() if isinstance(cls, type) and issubclass(cls, OprelError)]
FORMS = [ollama_form, own_form]  # oprel's clients read both


def test_codes_are_unique_and_lead_back_to_their_class() -> None:
    assert len({cls.code for cls in CLASSES}) == len(CLASSES)
    assert error_classes() == {cls.code: cls for cls in CLASSES}


def test_a_class_without_a_code_of_its_own_is_rebuilt_as_its_parent() -> None:
    class Full(exceptions.DownloadError):
        def __init__(self, free_bytes: int) -> None:
            super().__init__(f"{free_bytes} bytes are free")

    with pytest.raises(exceptions.DownloadError, match="3 bytes are free") as caught:
        calls.ps().parse(502, ollama_form(Full(3)))
    assert type(caught.value) is exceptions.DownloadError


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_says_what_to_answer_and_how_to_exit(cls: type[OprelError]) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", cls.code)
    assert 400 <= cls.http_status < 600
    assert 1 <= cls.exit_code < 64


def test_the_drawn_tree_names_every_class() -> None:
    assert set(re.findall(r"\w+Error\b(?=  |\n)", exceptions.__doc__ or "")) == {cls.__name__ for cls in CLASSES}


def test_errors_are_also_what_python_calls_them() -> None:
    assert issubclass(InvalidModelError, ValueError)
    assert issubclass(ConnectError, ConnectionError)


def test_an_error_reads_as_its_message() -> None:
    error = OprelError("it broke", "Mend it.")
    assert (str(error), error.message, error.resolution_steps) == ("it broke", "it broke", ("Mend it.",))


def test_what_it_quotes_of_megabytes_is_abridged() -> None:
    error = OprelError(f"model '{'a' * 10**7}' not found", "a" * 10**7)
    assert error.message.startswith("model 'aaa") and error.message.endswith("aaa' not found")
    assert max(map(len, (error.message, *error.resolution_steps))) < 10_000


@pytest.mark.parametrize("encode", FORMS)
@pytest.mark.parametrize("cls", CLASSES)
def test_an_answer_is_rebuilt_as_the_error_it_was(cls: type[OprelError], encode: ErrorEncoder) -> None:
    content = encode(cls("it bröke", "Mend it.", "Or not."))
    with pytest.raises(cls) as caught:
        calls.ps().parse(cls.http_status, content)
    assert type(caught.value) is cls
    assert (caught.value.message, caught.value.resolution_steps) == ("it bröke", ("Mend it.", "Or not."))


@pytest.mark.parametrize("encode", FORMS)
@pytest.mark.parametrize("cls", CLASSES)
def test_the_last_line_of_a_stream_is_rebuilt_too(cls: type[OprelError], encode: ErrorEncoder) -> None:
    line = encode(cls("it broke")).decode()
    with pytest.raises(cls) as caught:
        calls.chat("tiny", [], True).parse_line(line)
    assert (type(caught.value), caught.value.message, caught.value.resolution_steps) == (cls, "it broke", ())


@pytest.mark.parametrize("cls", CLASSES)
def test_only_what_passes_by_itself_may_be_retried(cls: type[OprelError]) -> None:
    response = error_response({}, cls("it broke"))
    assert response.status_code == cls.http_status
    assert response.headers.get("retry-after") == ("1" if cls.http_status in (429, 503) else None)
    busy = ("shutting_down", "server_busy", "engine_broken", "rate_limit_exceeded")
    assert (cls.http_status in (429, 503)) == (cls.code in busy)


def test_a_traceback_shows_the_steps_under_the_message() -> None:
    error = ConnectError("nothing answers", "Start it.", "", "Or ask.")
    lines = traceback.format_exception_only(error)
    assert lines == ["oprel.core.exceptions.ConnectError: nothing answers\n", "Start it.\n", "Or ask.\n"]
    assert traceback.format_exception_only(pickle.loads(pickle.dumps(error))) == lines
