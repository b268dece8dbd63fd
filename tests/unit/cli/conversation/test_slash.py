import pytest

from oprel.cli.conversation.session import SETTINGS
from oprel.cli.conversation.slash import COMMANDS, SHOWN, SYNONYMS, TOPICS, candidates, help_on, hints
from oprel.core.exceptions import ValidationError
from oprel.core.request_options import OPTIONS

MODELS = ["guide", "guava:7b", "tiny"]


def completed(text: str) -> list[str]:
    return candidates(text, lambda: MODELS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/lo", ["/load"]),
        ("/set no", ["nohistory", "nowordwrap", "noformat", "nothink"]),
        ("/set parameter top", ["top_k", "top_p"]),
        ("/set format ", ["json"]),
        ("/set think h", ["high"]),
        ("/show te", ["template"]),
        ("/? sh", ["show", "shortcuts"]),
        ("/? pa", ["parameters"]),
        ("/load gu", ["guide", "guava:7b"]),
        ("/load tiny ", []),
        ("/save gu", []),
        ("tell me /lo", []),
        ("/unknown x", []),
        ("/load gu\n", []),
    ],
)
def test_a_word_is_completed_by_what_may_stand_there(text: str, words: list[str]) -> None:
    assert sorted(completed(text)) == sorted(words)


def test_a_slash_offers_every_command() -> None:
    assert completed("/") == [*COMMANDS]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("/model tiny", "/load tiny"),
        ("/temp 0.2", "/set parameter temperature 0.2"),
        ("/num_ctx 4096", "/set parameter num_ctx 4096"),
        ("/verbose", "/set verbose"),
        ("/info", "/show info"),
        ("/laod tiny", "/load"),
    ],
)
def test_an_unknown_command_leads_to_what_was_meant(text: str, meant: str) -> None:
    assert hints(text) == (f"Did you mean `{meant}`?",)


def test_a_command_of_the_shell_is_named_and_others_are_not() -> None:
    assert hints("/pull tiny") == ("In a shell there is `oprel pull`.",)
    assert hints("/frobnicate") == ()


def test_other_words_are_no_commands() -> None:
    assert not {*SYNONYMS} & {*COMMANDS}
    assert {meant.split()[0] for meant in SYNONYMS.values()} <= {*COMMANDS}


def test_the_help_names_every_command_that_is_no_alias() -> None:
    shown = help_on("")
    assert [name for name, (_, text) in COMMANDS.items() if text and name not in shown] == []


def test_every_alias_is_named_beside_its_command() -> None:
    assert [name for name in ("/reset", "/exit", "/quit", "/?") if name not in help_on("")] == []


@pytest.mark.parametrize(
    ("topic", "words"), [("set", [*SETTINGS]), ("show", [*SHOWN]), ("/set", [*SETTINGS]), ("parameters", [*OPTIONS])]
)
def test_a_topic_has_a_help_of_its_own(topic: str, words: list[str]) -> None:
    assert [word for word in words if word not in help_on(topic)] == []


@pytest.mark.parametrize("topic", ["", *TOPICS])
def test_the_help_fits_a_usual_terminal(topic: str) -> None:
    assert [line for line in help_on(topic).splitlines() if len(line) > 80] == []


def test_the_help_on_keys_names_those_that_stop_and_leave() -> None:
    assert "Ctrl-C" in help_on("shortcuts")
    assert "Ctrl-D" in help_on("shortcuts")


def test_an_unknown_topic_is_an_error_with_a_guess() -> None:
    with pytest.raises(ValidationError) as raised:
        help_on("shortcut")
    assert raised.value.resolution_steps[0] == "Did you mean `shortcuts`?"


def test_every_option_is_completed() -> None:
    assert completed("/set parameter ") == [*OPTIONS]
