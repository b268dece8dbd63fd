"""The slash commands of a conversation, their help and their completion. Pure."""

from collections.abc import Callable, Iterable, Sequence

from oprel.cli.conversation.session import SETTINGS, THINK_LEVELS, guess
from oprel.cli.guidance.manual import MANUAL
from oprel.cli.screen.table import wrapped
from oprel.core.exceptions import ValidationError
from oprel.core.request_options import OPTIONS
from oprel.utils.text import one_line

# Command -> its argument and its meaning; without a meaning it is another name of a command.
COMMANDS = {
    "/set": ("SETTING", "change a setting (listed by `/? set`)"),
    "/show": ("PART", "describe the model (parts: `/? show`)"),
    "/list": ("", "list the installed models"),
    "/load": ("MODEL", "continue with another model or a saved conversation"),
    "/save": ("NAME", "save model, conversation and settings as a new model"),
    "/clear": ("", "forget the conversation (also /reset)"),
    "/reset": ("", ""),
    "/bye": ("", "leave (also /exit, /quit, Ctrl-D)"),
    "/exit": ("", ""),
    "/quit": ("", ""),
    "/help": ("TOPIC", "this help (also /?), or set, show, parameters, shortcuts"),
    "/?": ("", ""),
}
LEAVE = (["/bye"], ["/exit"], ["/quit"])
# Other words for commands.
SYNONYMS = {
    **dict.fromkeys(("/model", "/switch", "/use", "/open"), "/load"),
    **dict.fromkeys(("/models", "/ls"), "/list"),
    **dict.fromkeys(("/new", "/forget", "/restart"), "/clear"),
    **dict.fromkeys(("/q", "/leave", "/end", "/stop"), "/bye"),
    **dict.fromkeys(("/h", "/commands"), "/help"),
    **dict.fromkeys(("/store", "/export", "/write"), "/save"),
    **dict.fromkeys(("/temp", "/temperature"), "/set parameter temperature"),
    **dict.fromkeys(("/ctx", "/context"), "/set parameter num_ctx"),
    "/json": "/set format json",
    "/stats": "/set verbose",
}
SHOWN = {
    "info": "architecture, size, capabilities, parameters",
    "license": "its licence",
    "modelfile": "the Modelfile that makes it",
    "parameters": "its parameters, and those set in this conversation",
    "system": "the system message",
    "template": "the template of its prompts",
}
SHORTCUTS = {
    "Ctrl-A, Ctrl-E": "move to the start, to the end of the line",
    "Alt-B, Alt-F": "move a word back, a word forward",
    "Ctrl-K, Ctrl-U, Ctrl-W": "delete to the end, to the start, the previous word",
    "Ctrl-R, Up, Down": "search and step through the history",
    "Tab": "complete commands, settings and models",
    "Alt-Enter": "start a new line in the message",
    "Ctrl-G": "write the message in your editor",
    "Ctrl-L": "clear the screen",
    "Ctrl-C": "stop the answer, or discard the input",
    "Ctrl-Z": "suspend the program; `fg` continues it",
    "Ctrl-D": "leave",
}
TOPICS = ("set", "show", "parameters", "shortcuts")


def help_on(topic: str, width: int = 80) -> str:
    """The help, in lines of at most `width`. Raises ValidationError for an unknown topic."""
    topic = topic.removeprefix("/")
    if topic == "set":
        return _columns("/set changes:", ((f"/set {entry.usage}", entry.help) for entry in SETTINGS.values()), width)
    if topic == "parameters":
        return _columns("/set parameter takes:", ((option.name, option.meaning) for option in OPTIONS.values()), width)
    if topic == "show":
        return _columns("/show shows:", ((f"/show {name}", text) for name, text in SHOWN.items()), width)
    if topic == "shortcuts":
        return _columns("Keys:", SHORTCUTS.items(), width)
    if topic:
        raise ValidationError(
            f"unknown help topic {topic!r}", *guess(topic, TOPICS), f"The topics are {', '.join(TOPICS)}."
        )
    rows = [(f"{name} {takes}".rstrip(), text) for name, (takes, text) in COMMANDS.items() if text]
    return _columns("Commands:", rows, width) + '\n\nStart and end a message with """ to write several lines.'


def hints(text: str) -> tuple[str, ...]:
    """What was perhaps meant by text that begins with an unknown command.

    >>> hints("/temperature 0.2"), hints("/hlep"), hints("/verbose")
    (('Did you mean `/set parameter temperature 0.2`?',), ('Did you mean `/help`?',), ('Did you mean `/set verbose`?',))
    """
    word, _, argument = text.partition(" ")
    name = word.removeprefix("/")
    longer = {**{key: f"/set {key}" for key in SETTINGS}, **{key: f"/show {key}" for key in SHOWN if key != "system"}}
    longer |= {key: f"/set parameter {key}" for key in OPTIONS}
    if meant := SYNONYMS.get(word) or longer.get(name):
        return (f"Did you mean `{f'{meant} {argument}'.strip()}`?",)
    if near := guess(word, COMMANDS):
        return near
    return (f"In a shell there is `oprel {name}`.",) if name in MANUAL else ()


def takes_more(text: str) -> bool:
    """Whether a complete command or setting is followed by something.

    >>> takes_more("/load"), takes_more("/set verbose"), takes_more("/set parameter")
    (True, False, True)
    """
    match text.split(" "):
        case [command]:
            return bool(COMMANDS[command][0])
        case ["/set", setting]:
            return " " in SETTINGS[setting].usage
        case ["/set", "parameter", _]:
            return True
    return False


def candidates(text: str, models: Callable[[], Sequence[str]]) -> list[str]:
    """The completions of the last word of `text`. `models` returns the names of the installed models."""
    if not text.startswith("/") or "\n" in text:
        return []
    *before, word = text.split(" ")
    match before:
        case []:
            words: Iterable[str] = COMMANDS
        case ["/set"]:
            words = SETTINGS
        case ["/set", "parameter"]:
            words = OPTIONS
        case ["/set", "format"]:
            words = ("json",)
        case ["/set", "think"]:
            words = THINK_LEVELS
        case ["/show"]:
            words = SHOWN
        case ["/help" | "/?"]:
            words = TOPICS
        case ["/load"]:
            words = models()
        case _:
            words = ()
    return [name for name in words if name.startswith(word) and name == one_line(name)]


def _columns(title: str, rows: Iterable[tuple[str, str]], width: int) -> str:
    rows = [*rows]
    longest = max(len(name) for name, _ in rows)
    lines = (line for name, text in rows for line in wrapped(f"  {name:{longest}}  {text}", width, " " * (longest + 4)))
    return "\n".join([title, *lines])
