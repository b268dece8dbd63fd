"""What a chat template can do, as far as it decides how a conversation is passed to it."""

from dataclasses import dataclass
from enum import Enum


class SystemPlace(Enum):
    """Where a template takes system messages."""

    ANYWHERE = "anywhere"
    FIRST = "first"  # one, in front
    NOWHERE = "nowhere"  # or not in a form that always arrives: they join the user's messages


class CallForm(Enum):
    """How a template takes the calls of tools in a conversation."""

    PARALLEL = "parallel"
    SINGLE = "single"  # one call in a message
    LAST = "last"  # in one message; those before it are written as text, with their results
    TEXT = "text"  # not at all: calls and results are written as text


class IdForm(Enum):
    """The ids of calls that a template takes."""

    ANY = "any"
    NINE = "nine"  # nine letters or digits: Mistral's
    NUMBERED = "numbered"  # functions.NAME:0, counted through the conversation: Kimi's


class Spelling(Enum):
    """Which schemas of tools are repeated in the tool's description, as a template loses parts of them."""

    NONE = "none"
    DETAILED = "detailed"  # those with more than names, types and descriptions
    ALL = "all"


@dataclass(frozen=True, kw_only=True)
class TemplateTraits:
    """The defaults are those of a template that takes everything as it is."""

    system: SystemPlace = SystemPlace.ANYWHERE
    joins_neighbours: bool = False  # messages of one role in a row are to be one
    alternates: bool = False  # texts of user and assistant are to alternate, even with calls and results between them
    begins_with_user: bool = False
    needs_user: bool = False
    loses_other_roles: bool = False
    cuts_at_think_end: tuple[str, ...] = ()  # roles whose text before a quoted `</think>` is lost
    user_switches: tuple[str, ...] = ()  # such as `/no_think`: removed from the user's texts, once
    system_switches: tuple[str, ...] = ()  # the same for those of the system
    quotes_switches: bool = False  # they are removed in another way
    text_or_thoughts: bool = False  # a message with thoughts loses its text
    thoughts_in_text: bool = False  # thoughts beside a call are lost, except in its text
    tools_as_text: bool = False
    repeats_tools: bool = False  # tools are rendered at each message that equals the last one
    soft_schemas: bool = False  # schemas are to have one type each, and no alternatives
    spelling: Spelling = Spelling.NONE
    calls: CallForm = CallForm.PARALLEL
    ids: IdForm = IdForm.ANY
    text_apart: bool = False  # text beside a call is to be a message of its own
    flat_arguments: bool = False  # objects, lists and null in arguments are to be JSON texts
    results_as_text: bool = False
    fills_results: bool = False  # each call needs a result
    orphans_as_text: bool = False  # results without a call are lost
    is_unclear: bool = False  # not even the simplest conversation is rendered, so that nothing can be learned


AS_IS = TemplateTraits()
UNCLEAR = TemplateTraits(is_unclear=True)

# The form that every template with user and assistant takes.
PLAIN = TemplateTraits(
    system=SystemPlace.NOWHERE,
    joins_neighbours=True,
    alternates=True,
    begins_with_user=True,
    needs_user=True,
    loses_other_roles=True,
    cuts_at_think_end=("assistant",),
    text_or_thoughts=True,
    tools_as_text=True,
    calls=CallForm.TEXT,
    results_as_text=True,
    orphans_as_text=True,
)
