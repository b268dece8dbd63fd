"""What `oprel help` says: the commands in groups, and of each command two sentences and two examples.

Tests compare this table with the commands, and parse each example. Flags are explained where the parsers are made.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Page(NamedTuple):
    """`text`: what the command does and what to know about it. `examples`: command lines as users type them."""

    text: str
    examples: tuple[str, ...]


ANSWERS = {
    "run": Page(
        "Ask a model a question and print its answer, or start a conversation if no question is given. A model that is "
        "not installed is downloaded first.",
        ('oprel run qwen3 "Why is the sky blue?"', 'cat notes.txt | oprel run qwen3 --temperature 0 "Summarise this."'),
    ),
    "chat": Page(
        "Talk with a model at the terminal, where /? lists what you can do. --resume continues the last conversation.",
        ("oprel chat qwen3", 'oprel chat --resume --system "Answer in one sentence."'),
    ),
}
MODELS = {
    "pull": Page(
        "Download models from Ollama's registry, Hugging Face or a URL, in the quantization that suits this machine "
        "unless the name says another one. An interrupted download is kept, and the same command resumes it.",
        ("oprel pull qwen3:8b", "oprel pull hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M"),
    ),
    "list": Page(
        "List the installed models with their sizes, those of Ollama, LM Studio and llama.cpp included. `oprel ps` "
        "lists the models that are loaded.",
        ("oprel list", "oprel list qwen --columns name,size"),
    ),
    "show": Page(
        "Show what a model is: its size, context length, capabilities, parameters and licence. Flags such as "
        "--modelfile print one part alone.",
        ("oprel show qwen3", "oprel show qwen3 --modelfile"),
    ),
    "rm": Page(
        "Delete models and the files that nothing else uses, or give up a download. Your own files that a name points "
        "to are kept.",
        ("oprel rm qwen3:8b", "oprel rm qwen3 llama3.2:1b"),
    ),
    "cp": Page(
        "Give a model a second name. Both names use the same files, so that this takes no disk space.",
        ("oprel cp qwen3:8b assistant", "oprel cp qwen3:8b box.example/me/qwen3"),
    ),
    "create": Page(
        "Make a model of another one with a Modelfile, which sets its system message, parameters, template or "
        "adapters. --quantize makes its weights smaller.",
        ("oprel create assistant -f Modelfile", "oprel create small -f Modelfile --quantize q4_K_M"),
    ),
    "search": Page(
        "Find models on Hugging Face by words of their names, the most downloaded first. `oprel pull` takes the names "
        "that it prints.",
        ("oprel search qwen coder", "oprel search llama --limit 50"),
    ),
    "list-models": Page(
        "List the short names that `oprel pull` knows, with sizes and what each model is good for. Words and "
        "--capability narrow the list.",
        ("oprel list-models coder", "oprel list-models --capability vision"),
    ),
    "import": Page(
        "Add a model file or folder of this machine to the installed models. Its data is shared with your file where "
        "the disk allows that, not copied.",
        ("oprel import ~/Downloads/model-Q4_K_M.gguf", "oprel import ./model-folder mine --in-place"),
    ),
    "push": Page(
        "Upload a model to a registry of your own, whose host is a part of the name. Log in with `docker login HOST` "
        "if the registry asks for that.",
        ("oprel push box.example/me/qwen3", "oprel push localhost:5000/me/qwen3:8b --insecure"),
    ),
    "inspect": Page(
        "Check a model's files for damage and mistakes, and show which engines can serve it. Of a model on Hugging "
        "Face only the headers are downloaded.",
        ("oprel inspect qwen3", "oprel inspect hf.co/Qwen/Qwen3-8B-GGUF:Q4_K_M"),
    ),
    "cache": Page(
        "List the files of models, check them against their digests, or remove those that no model uses. `clear` "
        "removes every model, and asks for --yes.",
        ("oprel cache", "oprel cache prune"),
    ),
    "hf": Page(
        "Log in to Hugging Face, which some models require, or show who is logged in. The token is shared with the "
        "`hf` program.",
        ("oprel hf login", "oprel hf whoami"),
    ),
}
RUNNING = {
    "ps": Page(
        "List the loaded models: their memory, processor, context and how long they stay. Models that wait for memory "
        "are listed too, with the reason.",
        ("oprel ps", "oprel ps --wide"),
    ),
    "stop": Page(
        "Unload a model once its running answers are done, or stop the daemon with --daemon. With --now the daemon "
        "does not wait for running answers.",
        ("oprel stop qwen3", "oprel stop --daemon"),
    ),
    "serve": Page(
        "Run the daemon in the foreground, for services and containers; other commands start it by themselves. "
        "With --drop-in it takes Ollama's port and settings.",
        ("oprel serve", "oprel serve --server-host 0.0.0.0 --keep-alive 1h"),
    ),
    "restart": Page(
        "Stop the daemon and start it again with the settings as they are now. Models that were loaded are loaded "
        "again.",
        ("oprel restart", "oprel restart --config ./config.yaml"),
    ),
    "config": Page(
        "Show the settings and where each comes from, or the path of their file; or edit the file, or check it. The "
        "daemon reads settings at its start: `oprel restart` applies changes.",
        ("oprel config show", "oprel config validate"),
    ),
    "service": Page(
        "Let the system run the daemon from its start on, as a service of systemd, launchd or Windows. `status` and "
        "`logs` show how the service is.",
        ("oprel service install", "oprel service status"),
    ),
    "keys": Page(
        "Manage the keys of callers on other machines: `add` shows a new secret once. `use` stores a key that you got "
        "for a daemon elsewhere.",
        ("oprel keys add laptop --expires 90d", "oprel keys use https://gpu.example"),
    ),
    "logs": Page(
        "Show the latest lines of the daemon's log, those of a model's engine, or with --requests the log of requests. "
        "--follow keeps printing new lines.",
        ("oprel logs", "oprel logs qwen3 --follow"),
    ),
    "crash": Page(
        "List the crashes of engines, or show one with its cause, log and memory. The daemon restarts a crashed "
        "engine by itself.",
        ("oprel crash", "oprel crash show"),
    ),
    "quarantine": Page(
        "List the requests that are refused because they crashed their engine again and again. `clear` lets them try "
        "again.",
        ("oprel quarantine", "oprel quarantine clear"),
    ),
}
MACHINE = {
    "plan": Page(
        "Show how a model would run here, before it is downloaded or loaded: quantization, devices, context, memory "
        "and speed. It can plan for another machine, too.",
        ("oprel plan qwen3:8b", "oprel plan hf.co/Qwen/Qwen3-8B-GGUF --num-ctx 32768 --prefer quality"),
    ),
    "hardware": Page(
        "Show the CPU, memory and GPUs that models can use here. --json describes the machine for "
        "`oprel plan --hardware`.",
        ("oprel hardware", "oprel hardware --json"),
    ),
    "bench": Page(
        "Measure how fast models are here, and compare with the last time; or measure the memory, which bounds them "
        "on a CPU. Results are best on an otherwise idle machine.",
        ("oprel bench run qwen3", "oprel bench memory"),
    ),
    "engines": Page(
        "List the programs that run models, or install, update, test or prefer one; `rollback` returns to the build "
        "before. oprel chooses the best engine for each model by itself.",
        ("oprel engines install llama.cpp", "oprel engines test"),
    ),
    "doctor": Page(
        "Check the daemon, engine, hardware, folders, disk and port, and say how to fix what is wrong; with --security "
        "who may use the daemon. The exit status is 1 if something is wrong.",
        ("oprel doctor", "oprel doctor --security"),
    ),
    "selftest": Page(
        "Try the installed engine with a daemon and a folder of its own, without touching your models and daemon. "
        "--chaos also kills, stops and overloads it, and reports how it recovers.",
        ("oprel selftest", "oprel selftest --chaos"),
    ),
}
SHELL = {
    "completion": Page(
        "Print a script with which your shell completes commands, flags and the names of models. The help below says "
        "where it belongs.",
        ("oprel completion bash", "oprel completion fish"),
    ),
    "version": Page(
        "Show the versions of this program and of the daemon. `oprel --version` does not ask the daemon.",
        ("oprel version", "oprel --version"),
    ),
    "help": Page(
        "Show the commands in groups, or what one of them does. `oprel COMMAND --help` does the same.",
        ("oprel help", "oprel help pull"),
    ),
}
GROUPS: Mapping[str, Mapping[str, Page]] = {
    "Ask a model": ANSWERS,
    "Models": MODELS,
    "Loaded models and the daemon": RUNNING,
    "This machine": MACHINE,
    "Shell": SHELL,
}
MANUAL: Mapping[str, Page] = {name: page for group in GROUPS.values() for name, page in group.items()}
