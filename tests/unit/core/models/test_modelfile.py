"""Modelfiles: their text to data and back."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oprel.core.exceptions import ValidationError
from oprel.core.models.modelfile import Modelfile, parameter_lines, parse, render
from oprel.core.request_options import OPTIONS

WHOLE = '''# a pirate
FROM guide:latest
PARAMETER temperature 0.5
parameter top_k 20
PARAMETER stop "<|im_end|>"
Parameter  stop   User:
PARAMETER use_mmap false

SYSTEM """You are a "pirate".
  Speak so.
"""
TEMPLATE """{{ .Prompt }}"""
ADAPTER ./lora.gguf
LICENSE "MIT"
LICENSE """
Apache
"""
MESSAGE user Hello
message Assistant "Arr,
matey"
'''


def test_everything_is_read():
    assert parse(WHOLE) == Modelfile(
        from_="guide:latest",
        parameters={"temperature": 0.5, "top_k": 20, "stop": ["<|im_end|>", "User:"], "use_mmap": False},
        template="{{ .Prompt }}",
        system='You are a "pirate".\n  Speak so.\n',
        adapters=("./lora.gguf",),
        licenses=("MIT", "\nApache\n"),
        messages=(("user", "Hello"), ("assistant", "Arr,\nmatey")),
    )


def test_nothing_but_a_source_is_enough():
    assert parse("FROM  ./my model.gguf \r\n") == Modelfile(from_="./my model.gguf")


def test_a_text_keeps_what_is_not_said():
    found = parse("FROM a")
    assert (found.system, found.template) == (None, None)
    assert parse('FROM a\nSYSTEM ""').system == ""


def test_the_last_of_two_texts_counts():
    assert parse("FROM a\nSYSTEM one\nSYSTEM two").system == "two"


def test_further_sources_are_the_model_s_other_files():
    assert parse("FROM model.gguf\nFROM mmproj.gguf").also_from == ("mmproj.gguf",)


def test_a_stop_is_text_also_when_it_looks_like_a_number():
    assert parse("FROM a\nPARAMETER stop 5\nPARAMETER seed -5\nPARAMETER top_p 1e-3").parameters == {
        "stop": ["5"],
        "seed": -5,
        "top_p": 0.001,
    }


def test_what_only_ollama_needs_is_ignored_with_a_note():
    assert parse('REQUIRES 0.14\nFROM a\nPARSER "qwen"').notes == (
        "Line 1: REQUIRES is ignored.",
        "Line 3: PARSER is ignored.",
    )


def test_an_option_that_only_ollama_has_is_ignored_with_a_note():
    read = parse("FROM a\nPARAMETER mirostat 2\nPARAMETER seed 1")
    assert read.parameters == {"seed": 1}
    assert read.notes == ("Line 2: PARAMETER mirostat is ignored: oprel's engines do not have it.",)


def test_a_hash_within_a_text_is_no_comment():
    assert parse('FROM a\nSYSTEM """\n# one\n"""\n  # a comment').system == "\n# one\n"


FAULTS = {
    "# nothing\n": "the Modelfile has no FROM line",
    "FROM a\n\nFORM b": "Modelfile, line 3: unknown command 'form'",
    "FROM": "Modelfile, line 1: FROM needs a model's name or a file's path",
    'FROM a\nSYSTEM """one\ntwo': 'Modelfile, line 2: the quotes """ are never closed',
    'FROM a\nSYSTEM "': 'Modelfile, line 2: the quotes " are never closed',
    'FROM a\nSYSTEM """""""\ntext': 'Modelfile, line 2: the quotes """"""" are never closed',
    "FROM a\nPARAMETER temperature": "Modelfile, line 2: PARAMETER needs a name and a value",
    "FROM a\nPARAMETER": "Modelfile, line 2: PARAMETER needs a name and a value",
    "FROM a\nPARAMETER temprature 1": ("Modelfile, line 2: unknown option 'temprature'; did you mean 'temperature'?"),
    "FROM a\nPARAMETER colour red": "Modelfile, line 2: unknown option 'colour'",
    "FROM a\nMESSAGE tool x": 'Modelfile, line 2: message role must be one of "system", "user", or "assistant"',
}


@pytest.mark.parametrize("text", FAULTS)
def test_a_fault_is_told_with_its_line(text: str):
    with pytest.raises(ValidationError) as caught:
        parse(text)
    assert caught.value.message == FAULTS[text]


def test_a_plain_modelfile_reads_like_one():
    made = Modelfile("guide", {"temperature": 0.5, "stop": ["a"]}, system='Say "hi".', messages=(("user", "Hello"),))
    assert render(made, "Modelfile of x\nmade by oprel") == (
        "# Modelfile of x\n# made by oprel\nFROM guide\n"
        'SYSTEM """Say "hi"."""\nPARAMETER stop "a"\nPARAMETER temperature 0.5\nMESSAGE user Hello\n'
    )


# Quotes, spaces and line ends of all kinds more often than chance would have them.
texts = st.text(st.one_of(st.sampled_from('"\n\r\t #\\'), st.characters(exclude_categories=["Cs"])))
numbers = st.booleans() | st.integers(-(2**59), 2**59) | st.floats(allow_nan=False, allow_infinity=False)
names = st.sampled_from([name for name in OPTIONS if name != "stop"])
parameters = st.builds(
    lambda numbers, stop: {**numbers, **({"stop": stop} if stop else {})},
    st.dictionaries(names, numbers),
    st.lists(texts),
)
modelfiles = st.builds(
    Modelfile,
    from_=texts.filter(bool),
    parameters=parameters,
    template=st.none() | texts,
    system=st.none() | texts,
    adapters=st.lists(texts.filter(bool)).map(tuple),
    licenses=st.lists(texts).map(tuple),
    messages=st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), texts)).map(tuple),
)


@settings(deadline=5000)
@given(modelfiles)
@example(Modelfile("a", system='one"""\ntwo'))
@example(Modelfile("a", system='"""""""'))
@example(Modelfile("a", system='""""""""\n"""\n'))
@example(Modelfile("a", system='"\n'))
@example(Modelfile("a", system=' \n "'))
def test_what_is_written_is_read_back(modelfile: Modelfile):
    assert parse(render(modelfile)) == modelfile


def test_parameters_as_lines_are_sorted():
    assert list(parameter_lines({"top_k": 5, "num_ctx": 8, "use_mmap": True})) == [
        ("num_ctx", "8"),
        ("top_k", "5"),
        ("use_mmap", "true"),
    ]
