"""Questions made of others: two things at once, other tools' names for oprel's commands, and what oprel cannot do."""

# ruff: noqa: E501  (one wording a line)

import random
from collections.abc import Mapping, Sequence

from words import expand, invented

UNSURE = "I am not sure; see `oprel help`."

# Commands of other tools -> the intent that does the same here.
EQUIVALENTS: Mapping[str, tuple[str, ...]] = {
    "run": ("ollama run {m}", "ollama run", "llama-cli -m {m}", "llama-cli", "lms load {m}", "llm prompt", "docker model run {m}"),
    "pull": ("ollama pull {m}", "lms get {m}", "docker pull {m}", "huggingface-cli download {m}", "hf download {m}",
             "docker model pull {m}"),
    "rm": ("ollama rm {m}", "docker rmi {m}", "docker model rm {m}", "lms rm {m}"),
    "ps": ("ollama ps", "lms ps", "docker ps", "docker model ps"),
    "list": ("ollama list", "ollama ls", "lms ls", "docker images", "docker model list"),
    "show": ("ollama show {m}", "ollama show", "gguf-dump {m}"),
    "stop": ("ollama stop {m}", "ollama stop", "lms unload {m}", "docker stop {m}"),
    "cp": ("ollama cp {m} other", "ollama cp {m}"),
    "create": ("ollama create mine", "ollama create", "ollama create -f Modelfile"),
    "push": ("ollama push {m}",),
    "serve": ("ollama serve", "lms server start", "llama-server -m {m}"),
    "stop daemon": ("lms server stop", "killall ollama", "systemctl stop ollama", "pkill ollama"),
    "logs": ("journalctl -u ollama", "docker logs", "lms log stream"),
    "restart": ("systemctl restart ollama",),
    "service install": ("systemctl enable ollama",),
    "version": ("ollama --version", "ollama -v"),
    "help": ("ollama help", "ollama --help"),
    "search": ("lms search", "docker search"),
    "hf login": ("huggingface-cli login", "hf auth login"),
    "bench": ("llama-bench -m {m}", "ollama run {m} --verbose"),
    "chat": ("lms chat",),
}  # fmt: skip
SAME = (
    "(what is|what's|whats|is there|which is|give me|show me|I need|do you have) (the|an|oprel's|some|the oprel) (equivalent|counterpart|replacement|version|analogue|alternative|substitute) (of|for|to) {o}(| here| in oprel| with oprel| please)(|?)",
    "{o}", "{o}", "{o}?", "{o} (here|in oprel|but with oprel|for oprel)(|?)",
    "(what|which command) (replaces|is like|corresponds to|does the same as|is the same as|works like) {o}(| here| in oprel)(|?)",
    "(how|what) (do I|can I|should I) (do|use|run|type) (|instead of) {o} (in oprel|with oprel|here)(|?)",
    "(in|with) (ollama|Ollama|the other tool) I (used|typed|ran|did|use|type) {o}(|, what now|, what is it here|, and here|, and in oprel)(|?)",
    "I (used|used to type|always typed|know|am used to|come from) {o}(|, what is it here|, and now|, how is it here)(|?)",
    "(does|can) oprel (have|do) (something like|) {o}(|?)",
    "instead of {o}(| I use| what do I type)(|?)",
    "{o} (equivalent|alternative|replacement)(|?)",
    "(before|until now|so far|previously|in the past) (I|we) (used|typed|ran) {o}(|, what is it now|, and now)(|?)",
    "command not found: (ollama|lms), I typed {o}",
)  # fmt: skip

# Two wants in one breath. The intents that are asked together, by the name.
TOGETHER = ("list", "ps", "rm", "pull", "run", "chat", "show", "stop", "logs", "doctor", "plan", "serve", "restart",
            "config show", "search", "import", "cp", "create", "stop daemon", "hardware", "version", "update model",
            "bench", "engines", "crash", "resume", "keep for ever", "pipe", "system", "format json")  # fmt: skip
BOTH = (
    "(how do I|how can I|how to|I want to|I'd like to|show me how to|tell me how to|i need to|can I|) {1} (and|and then|and also|, then|and after that|and at the same time|as well as|, and) {2}(|?|.| please)",
    "(how do I|how can I|first|) {1}(?|,|.|;) (and how do I|then how do I|and how can I|how do I|then|also) {2}(|?)",
    "two (things|questions): (how do I|) {1} and (how do I|) {2}(|?)",
    "{1} + {2}", "{1} and {2}", "{1} and then {2}",
)  # fmt: skip

# What nobody can do with oprel: verbs and objects of its world that do not fit. Some of it sounds like deleting.
NO_VERBS = """train fine-tune finetune merge distill translate encrypt decrypt schedule mail email print fax draw paint
compile sell buy rent lend sign stamp vote rank grade sort rotate mirror replicate federate shard mount stream record
teach educate breed hire insure license certify watermark synchronise backup archive zip encode transcribe
voice-clone animate visualise plot graph chart tweet post blog deploy provision scale autoscale load-balance""".split()
UNSURE_FRAMES = (
    "(how do I|how can I|how to|can I|can oprel|does oprel|is it possible to|can oprel also|will oprel ever) {v} {o} (with oprel|in oprel|using oprel|by oprel|)(|?)",
    "(what is|which is|is there) (the|an) oprel command (to|for) {v} {o}(|?)",
    "oprel {v} {o}", "oprel {v}", "oprel {v} {m}", "how do I use oprel {v}(|?)", "what does oprel {v} do(|?)",
    "does oprel have (a|an) {v} (command|option|mode|feature|flag)(|?)",
    "(how do I|can I) {v} (a model|my models|{m}|models|the daemon) (to|for|into|between|across) {o}(|?)",
    "(how do I|can I) {v} (a model|my model|{m}|models|the daemon|an engine)(|?)",
    "(how much|what) does oprel (cost|earn|weigh)(|?)", "who (sells|owns|pays for) oprel(|?)",
    "(is|can) oprel (be|) (a database|a web browser|an operating system|a game|a bank)(|?)",
    "is there an oprel (app|plugin|extension|widget) for {o}(|?)",
    "what does --{w} do(|?)", "oprel --{w}", "oprel run --{w}", "oprel {w}", "oprel {w} {w2}", "what is oprel {w}(|?)",
)  # fmt: skip


def other_tool(rng: random.Random) -> tuple[str, str]:
    """A question about another tool's command, where {m} is a model, and the name of the intent that answers."""
    name = rng.choice(tuple(EQUIVALENTS))
    frame = rng.choice(SAME)
    return " ".join(expand(rng, frame.replace("{o}", "@")).replace("@", rng.choice(EQUIVALENTS[name])).split()), name


def both(rng: random.Random, first: str, second: str) -> str:
    asked = expand(rng, rng.choice(BOTH).replace("{1}", "@1").replace("{2}", "@2"))
    asked = asked.replace("@1", first.rstrip("?.")).replace("@2", second.rstrip("?."))
    return asked.replace(" ,", ",").replace(" ?", "?").replace(" ;", ";")


def unsure(rng: random.Random, model: str) -> str:
    verb = rng.choice(NO_VERBS) if rng.random() < 0.7 else invented(rng, False)
    fill = {"v": verb, "o": rng.choice(OBJECTS), "w": invented(rng, False), "w2": invented(rng, False), "m": model}
    return expand(rng, rng.choice(UNSURE_FRAMES)).format(**fill)


OBJECTS: Sequence[str] = (
    *"datasets models embeddings weights videos speech audio music spreadsheets databases passwords invoices".split(),
    "a dataset", "a LoRA", "a tokenizer", "a neural network", "a cluster", "a fleet", "two machines", "the cloud", "AWS",
    "Azure", "a GPU cluster", "a calendar", "a video", "a voice", "a web page", "an account", "my phone", "a robot",
    "a dashboard", "a second computer", "Excel", "my watch", "a friend", "a Raspberry Pi", "Google Drive", "a NAS",
)  # fmt: skip
