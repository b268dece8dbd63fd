"""Other words for commands and flags, those of other programs and of everyday speech -> what to write instead.

Typed words that are not in these tables are compared with the real names; see `hint_for_command`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from shlex import join

from oprel.core.request_options import ALL_NAMES

SYNONYMS: Mapping[str, Iterable[str]] = {
    "pull": ("download", "get", "fetch", "install", "add", "clone"),
    "rm": ("delete", "remove", "uninstall", "del", "erase", "unlink"),
    "stop": ("kill", "unload", "terminate", "end", "shutdown", "halt"),
    "ps": ("status", "running", "loaded", "top", "tasks", "processes", "jobs", "stats"),
    "run": ("ask", "generate", "prompt", "complete", "answer", "exec", "embed", "load", "use"),
    "chat": ("talk", "repl", "interactive", "conversation", "conv"),
    "list": ("installed", "available", "dir"),
    "show": ("describe", "details", "info", "modelfile", "card"),
    "serve": ("server", "daemon", "listen", "up"),
    "restart": ("reload", "reboot", "refresh"),
    "config": ("settings", "setting", "configure", "configuration", "preferences", "env"),
    "service": ("systemd", "systemctl", "launchd", "autostart", "startup"),
    "logs": ("log", "journal", "tail"),
    "search": ("find", "lookup", "browse", "discover"),
    "list-models": ("library", "catalog", "catalogue", "aliases"),
    "cp": ("copy", "clone-model", "duplicate", "alias", "tag"),
    "create": ("build", "make", "new", "quantize", "finetune"),
    "push": ("upload", "publish", "share"),
    "import": ("load-file", "register", "convert"),
    "inspect": ("check", "verify", "validate", "lint"),
    "plan": ("recommend", "estimate", "fit", "suggest", "size", "memory", "vram"),
    "hardware": ("gpu", "gpus", "devices", "device", "cpu", "machine", "sysinfo", "nvidia-smi"),
    "engines": ("engine", "backend", "backends", "runtime", "runtimes"),
    "bench": ("benchmark", "benchmarks", "perf", "speed", "measure"),
    "doctor": ("diagnose", "diagnostics", "health", "troubleshoot", "debug"),
    "selftest": ("self-test", "test", "tests"),
    "crash": ("crashes", "coredump", "core"),
    "hf": ("huggingface", "huggingface-cli", "token"),
    "completion": ("completions", "autocomplete"),
    "help": ("man", "manual", "docs", "usage", "commands", "?"),
}
# What takes more than another word.
ADVICE: Mapping[str, str] = {
    **dict.fromkeys(
        ("signin", "login", "signout", "logout"),
        "oprel needs no account. For gated models on Hugging Face, use `oprel hf login`.",
    ),
    "launch": "Configure the program to use http://127.0.0.1:11435; README.md shows how.",
    **dict.fromkeys(
        ("rename", "mv", "move"), "Copy it and delete the old name: `oprel cp OLD NEW`, then `oprel rm OLD`."
    ),
    **dict.fromkeys(
        ("clean", "cleanup", "prune", "gc", "purge"), "`oprel cache prune` removes files that no model uses."
    ),
    **dict.fromkeys(
        ("update", "upgrade"),
        "`oprel pull MODEL` updates a model, `oprel engines update` an engine, and what installed it oprel itself.",
    ),
    "set": "`oprel config edit` changes settings, and `oprel restart` puts them into effect.",
    **dict.fromkeys(("exit", "quit", "bye"), "/bye leaves a conversation; `oprel stop --daemon` stops the daemon."),
}

_PICTURE = 'Write the path of the picture into the prompt: `oprel run MODEL "What is in ./photo.png?"`.'
# Flags, without their dashes, that are no flag of any command.
FLAG_ADVICE: Mapping[str, str] = {
    **dict.fromkeys(("image", "images", "img", "picture", "photo", "file", "attach"), _PICTURE),
    **dict.fromkeys(("model", "m"), "Write the model right after the command: `oprel run MODEL`."),
    **dict.fromkeys(("prompt", "p", "message", "q"), "Write the prompt after the model: `oprel run MODEL PROMPT`."),
    **dict.fromkeys(("stream", "no-stream"), "Answers always stream to a terminal; in a pipe only their end counts."),
    **dict.fromkeys(("force", "f", "y"), "Leave it out: the command asks no question, or has --yes."),
    **dict.fromkeys(("debug", "d"), "Set `OPREL_LOG_LEVEL=debug`, and see `oprel logs`."),
    **dict.fromkeys(("gpu", "gpus", "device", "cuda"), "oprel uses the GPUs that it finds; --num-gpu 0 uses none."),
}
# Flags -> the flag that does the same, where a command has it.
FLAG_SYNONYMS: Mapping[str, str] = {
    "temp": "--temperature",
    "t": "--temperature",
    "ctx": "--num-ctx",
    "context": "--num-ctx",
    "context-length": "--num-ctx",
    "c": "--num-ctx",
    "n": "--num-predict",
    "max-length": "--num-predict",
    "max-new-tokens": "--num-predict",
    "ngl": "--num-gpu",
    "threads": "--num-thread",
    **{name.replace("_", "-"): f"--{option.replace('_', '-')}" for name, option in ALL_NAMES.items()},
    "system-prompt": "--system",
    "sys": "--system",
    "reasoning": "--think",
    "no-think": "--think=false",
    "nothink": "--think=false",
    "stats": "--verbose",
    "timings": "--verbose",
    "no-wrap": "--nowordwrap",
    "schema": "--format",
    "output": "--format",
    "port": "--server-port",
    "bind": "--server-host",
    "listen": "--server-host",
    "address": "--host",
    "url": "--host",
    "tail": "--follow",
    "all": "--wide",
    "full": "--wide",
    "fields": "--columns",
    "quantization": "--quantize",
    "long": "--wide",
}


def hint_for_command(words: Sequence[str], commands: Collection[str]) -> str:
    """What to write instead of words that begin with an unknown command; empty if it resembles none.

    >>> hint_for_command(["download", "qwen3"], ["pull", "list"]), hint_for_command(["lsit"], ["pull", "list"])
    ('Did you mean `oprel pull qwen3`?', 'Did you mean `oprel list`?')
    """
    word = words[0].lower().strip("/")
    if word in ADVICE:
        return ADVICE[word]
    meant = {synonym: command for command, synonyms in SYNONYMS.items() for synonym in synonyms}
    near = [word] if word in meant else get_close_matches(word, [*commands, *meant], n=1)
    return f"Did you mean `{join(['oprel', meant.get(near[0], near[0]), *words[1:]])}`?" if near else ""


def hint_for_flag(flag: str, flags: Collection[str]) -> str:
    """What to write instead of a flag that the command does not have; empty if it resembles none.

    >>> hint_for_flag("--temp", ["--temperature"]), hint_for_flag("--jsn", ["--json"])
    ('Did you mean --temperature?', 'Did you mean --json?')
    """
    word = flag.lower().strip("-").replace("_", "-")
    if word in FLAG_ADVICE:
        return FLAG_ADVICE[word]
    meant = {name: other for name, other in FLAG_SYNONYMS.items() if other.partition("=")[0] in flags}
    meant |= {name.lstrip("-"): name for name in flags}
    near = [word] if word in meant else get_close_matches(word, meant, n=1)
    return f"Did you mean {meant[near[0]]}?" if near else ""
