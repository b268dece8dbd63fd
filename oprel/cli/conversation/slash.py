"""The slash commands of a conversation: what there is, help on them, and how they are completed. Pure."""

from collections.abc import Callable, Iterable, Sequence

from oprel.cli.conversation.session import PARAMETERS, SETTINGS, THINK_LEVELS, guess
from oprel.core.exceptions import ValidationError

# Command -> what it takes, and what it does.
COMMANDS = {
    "/set": ("SETTING", "change a setting (listed by `/? set`)"),
    "/show": ("PART", "tell about the model (parts: `/? show`)"),
    "/list": ("", "the models there are"),
    "/load": ("MODEL", "go on with another model, or a saved conversation"),
    "/save": ("NAME", "save model, conversation and settings as a new model"),
    "/clear": ("", "forget the conversation (also /reset)"),
    "/reset": ("", ""),
    "/bye": ("", "leave (also /exit, /quit, Ctrl-D)"),
    "/exit": ("", ""),
    "/quit": ("", ""),
    "/help": ("TOPIC", "this text (also /?) or on set, show, shortcuts"),
    "/?": ("", ""),
}
LEAVE = ("/bye", "/exit", "/quit")
SHOWN = {
    "info": "architecture, size, capabilities, parameters",
    "license": "its licence",
    "modelfile": "the Modelfile that makes it",
    "parameters": "its parameters, and those set here",
    "system": "the system message",
    "template": "the template of its prompts",
}
SHORTCUTS = {
    "Ctrl-A, Ctrl-E": "to the beginning, to the end of the line",
    "Alt-B, Alt-F": "a word back, a word on",
    "Ctrl-K, Ctrl-U, Ctrl-W": "delete to the end, to the beginning, the word before",
    "Ctrl-R, Up, Down": "search and walk through what was typed",
    "Tab": "complete commands, settings and models",
    "Alt-Enter": "a new line in the message",
    "Ctrl-G": "write the message in your editor",
    "Ctrl-L": "clear the screen",
    "Ctrl-C": "stop the answer, or drop what is typed",
    "Ctrl-D": "leave",
}
TOPICS = ("set", "show", "shortcuts")


def help_on(topic: str) -> str:
    """Raises ValidationError for a topic that there is not."""
    topic = topic.removeprefix("/")
    if topic == "set":
        return _columns("/set changes:", ((f"/set {one.usage}", one.help) for one in SETTINGS.values()))
    if topic == "show":
        return _columns("/show tells:", ((f"/show {name}", text) for name, text in SHOWN.items()))
    if topic == "shortcuts":
        return _columns("Keys:", SHORTCUTS.items())
    if topic:
        raise ValidationError(
            f"there is no help on {topic!r}", *guess(topic, TOPICS), "There is on set, show, shortcuts."
        )
    rows = [(f"{name} {takes}".rstrip(), text) for name, (takes, text) in COMMANDS.items() if text]
    return _columns("Commands:", rows) + '\n\nBegin a message with """ to write several lines, and end it so.'


def candidates(text: str, models: Callable[[], Sequence[str]]) -> list[str]:
    """What the last word of `text` may become. `models` gives the names there are."""
    if not text.startswith("/") or "\n" in text:
        return []
    *before, word = text.split(" ")
    match before:
        case []:
            known: Iterable[str] = COMMANDS
        case ["/set"]:
            known = SETTINGS
        case ["/set", "parameter"]:
            known = PARAMETERS
        case ["/set", "format"]:
            known = ("json",)
        case ["/set", "think"]:
            known = THINK_LEVELS
        case ["/show"]:
            known = SHOWN
        case ["/help" | "/?"]:
            known = TOPICS
        case ["/load"]:
            known = models()
        case _:
            known = ()
    return [name for name in known if name.startswith(word)]


def _columns(title: str, rows: Iterable[tuple[str, str]]) -> str:
    rows = [*rows]
    width = max(len(name) for name, _ in rows)
    return "\n".join([title, *(f"  {name:{width}}  {text}" for name, text in rows)])
