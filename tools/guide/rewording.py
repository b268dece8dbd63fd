"""Other words for the same, put in on the fly, so that what is asked counts and not how."""

import random
import re

SYNONYMS = {
    "model": "llm ai network checkpoint", "models": "llms checkpoints weights", "daemon": "server service backend",
    "server": "daemon service backend", "computer": "pc laptop mac box machine desktop notebook",
    "machine": "pc computer laptop box desktop", "laptop": "computer pc notebook macbook", "pc": "computer laptop",
    "disk": "ssd hdd drive harddisk storage", "drive": "disk ssd", "show": "display print give present tell",
    "see": "view display get check look", "list": "show display enumerate", "find": "discover locate get",
    "running": "active loaded live", "loaded": "running active", "slow": "sluggish laggy lame", "fast": "quick speedy",
    "broken": "busted faulty defective wrong", "error": "failure problem issue exception fault",
    "picture": "photo image pic screenshot", "image": "picture photo pic", "photo": "picture image pic",
    "check": "verify test examine look", "start": "launch begin boot run", "stop": "end halt quit terminate",
    "change": "modify alter adjust switch", "set": "choose put configure define", "use": "utilise take employ try",
    "make": "create build get produce", "download": "pull fetch get", "install": "get add setup", "get": "obtain have",
    "delete": "remove erase uninstall", "remove": "delete erase", "chat": "conversation talk dialogue",
    "conversation": "chat talk discussion", "answer": "reply response output", "answers": "replies responses output",
    "question": "prompt query request", "memory": "ram", "RAM": "memory", "ram": "memory", "GPU": "gpu card",
    "graphics": "video", "settings": "options config configuration preferences", "setting": "option value",
    "config": "configuration settings", "log": "logfile logs", "logs": "log messages output", "newest": "latest",
    "latest": "newest current", "new": "newer recent fresh", "old": "former stale ancient", "fits": "works runs suits",
    "big": "large huge", "large": "big huge", "small": "little tiny", "program": "app tool software",
    "want": "need wish", "need": "want require", "everything": "all it", "why": "how come", "crashed": "died failed",
    "died": "crashed ended", "works": "runs functions", "text": "document", "file": "document", "folder": "directory",
    "name": "title label", "good": "nice decent fine", "wrong": "broken bad amiss", "again": "anew", "fetch": "get",
    "restart": "reboot reload relaunch", "update": "upgrade refresh renew", "limit": "cap restrict", "keep": "hold",
    "continue": "resume proceed", "previous": "last former earlier", "last": "previous recent", "search": "look hunt",
}  # fmt: skip
FILLERS = """for me, on my pc, right now, today, please help, somehow, on linux, on my mac, quickly, with this, here,
again, at home, at work, since yesterday, for my project, in the terminal, on the command line, if possible, exactly,
properly, at last, on windows, as a beginner, for my boss, what can i do, any idea, what should i do, how, what now,
how come""".replace("\n", " ").split(", ")
OPENINGS = """i am new, hey guide, one question, quick question, sorry, hm, well, listen, so, my problem, friend asks,
i wonder, tell me, can you help, good day, question, i forgot, dumb question, it seems, actually, basically,
today""".replace("\n", " ").split(", ")
NAMES_A_COMMAND = re.compile(r"`|what does|command|(oprel|ollama|lms|docker|hf) [a-z]|^\S+$")
DELETES = re.compile(r"delet|remov|eras|install|wip|trash|purge|rid|throw|scrap|destroy|bin|clear|clean|unused")
SMALL = frozenset("how do i can to the a an my of in is are with for it me you does what that this please on".split())


def reworded(rng: random.Random, text: str, kept: tuple[str, ...]) -> str:
    """Some words by others that mean the same here, something said around it, or only the words that count."""
    words = text.split(" ")
    if not NAMES_A_COMMAND.search(text):
        words = [word if word.strip("?.,!") in kept else _other(rng, word) for word in words]
    chance = rng.random()
    if chance < 0.12:
        words += rng.choice(FILLERS).split()
    elif chance < 0.2:
        words = [*(rng.choice(OPENINGS).strip() + rng.choice((",", ":", " -", ""))).split(" "), *words]
    elif chance < 0.36 and len(words) > 3:
        words = [word for word in words if word.lower() not in SMALL or rng.random() < 0.25] or words
    elif chance < 0.44 and len(words) > 4:
        at = rng.randrange(len(words))
        words = words if words[at] in kept or DELETES.search(words[at]) else words[:at] + words[at + 1 :]
    return " ".join(words)


def _other(rng: random.Random, word: str) -> str:
    bare = re.sub(r"[?.,!]+$", "", word)
    if bare not in SYNONYMS or rng.random() > 0.16:
        return word
    return rng.choice(SYNONYMS[bare].split()) + word[len(bare) :]
