"""How people ask for oprel's settings: one entry for each row of the table in oprel.core.config.

The answer is made from the table: the flag of `oprel serve`, and the value asked for.
"""

# ruff: noqa: E501  (one wording a line)

import re
from dataclasses import dataclass

from intent import Intent

from oprel.core.config import Config
from oprel.core.settings import DeclaredSetting


@dataclass(frozen=True)
class Wording:
    """`wants` may hold {v}, one of `values`; without any, `example` stands in the answer."""

    wants: str
    asks: str = ""
    values: str = ""
    example: str = ""


# Settings that usage.py asks for in its own words, with wordings kept out of training.
ELSEWHERE = ("home", "server_host", "server_port", "origins", "log_level", "keep_alive", "engine_path", "binary_dir",
             "load_timeout", "ctx_size", "batch_size", "parallel", "n_threads", "n_gpu_layers", "kv_cache_type",
             "flash_attention")  # fmt: skip

WORDINGS = {
    "host": Wording("", ""),
    "keep_alive_locked": Wording("""
        (ignore|overrule|forbid|lock) keep_alive (in|of) requests
        (stop|keep|prevent) clients from (changing|setting|choosing) (keep_alive|how long models stay)
        (lock|fix) the keep alive (time|)
        """, example="on"),
    "default_max_memory_mb": Wording("""
        (limit|cap|restrict) (the memory|memory|RAM) (of|for) (all models|models|oprel|the models) (to {v} MB|to {v} MiB|to {v})
        (allow|give|let) (oprel|all models|models) (only|at most|no more than|use) {v} (MB|MiB|megabytes) (of memory|of RAM|)
        (use|take) (at most|no more than) {v} (MB|MiB|megabytes) (of memory|of RAM|together|)
        (set|have) a memory (limit|budget|cap) of {v} (MB|MiB|)
        """, values="4000 8000 16000 2000 12000 6000 24000 32000 3000 10000 5000 8192 16384 4096"),
    "preload": Wording("""
        (load|preload|warm up|start) {v} (when the daemon starts|at the start|at startup|on startup|with the daemon|in advance|beforehand)
        (have|keep) {v} (loaded|ready|warm) (from the start|at once|right after the start|when the daemon starts)
        (preload|warm up) (a model|{v}|models)
        """, "what does preload do?", values="llama3 mistral qwen3 gemma3 phi4 guide small"),
    "restore": Wording("""
        (not reload|not restore|not load again) (the models of before|old models|models) (after a restart|at the start|)
        (start|begin) (empty|without models|with no model loaded) after a restart
        (stop|keep) the daemon from (reloading|restoring|loading) (models|the old models)
        """, "why are my models loaded again after a restart?", example="off"),
    "stall_timeout": Wording("""
        (wait|allow|give) (longer|{v}|up to {v}) (before|until) (a busy engine|an engine|a slow engine) (is killed|counts as hung|is restarted)
        (set|change|raise) the stall (timeout|time) to {v}
        (stop|keep) oprel from killing (slow|busy) engines
        """, """
        (Error|error): the engine made no progress
        (my|the) (engine|model) is killed as (hung|stalled)
        """, values="60s 2m 5m 90s 3m 10m 1m"),
    "drain_timeout": Wording("""
        (let|allow) (answers|running answers) (finish|end) (for {v}|within {v}|up to {v}) (when the daemon stops|before it stops|)
        (set|change) the drain (timeout|time) to {v}
        (wait|give) {v} for answers (when stopping|at the end|before the daemon stops)
        """, values="30s 60s 1m 2m 20s 5s 5m"),
    "max_queue": Wording("""
        (allow|let) {v} requests (to wait|in the queue|in line|wait)
        (set|change|limit) (the|) (queue|queue length|max queue|maximum queue|number of waiting requests) to {v}
        (have|use) a queue of {v} (requests|)
        """, """
        (Error|error): (the queue is full|too many requests wait|503 queue full)
        the queue is full
        """, values="10 50 100 1000 20 64 2000 256 5"),
    "prefer": Wording("""
        (prefer|favour|choose|put first) {v} (when oprel plans|in plans|)
        (plan|have plans|let oprel plan) for {v}
        (set|change) (prefer|the preference) to {v}
        """, values="quality speed context balanced"),
    "backend": Wording("""
        (always|) (prefer|use|choose) the {v} (backend|engine)
        (set|change) the (backend|preferred engine) to {v}
        """, values="vllm llama.cpp transformers"),
    "engine_args": Wording("""
        (pass|give|hand|add|send) (extra|more|additional|own|other|custom) (arguments|flags|options|parameters) to (the engine|llama-server|llama.cpp)
        (use|set) (llama-server|llama.cpp|engine) (flags|options|arguments)
        (add|set) engine (arguments|args|flags)
        """, "what does engine_args do?"),
    "runaway_guard": Wording("""
        (turn off|disable|switch off|stop) the (runaway guard|guard|guard against endless answers|loop detection)
        (let|allow) answers (to repeat|repeat) (without end|for ever|themselves)
        """, """
        (my|the|an) answer was ended because it repeats (itself|)
        what is the runaway guard?
        """, example="off"),
    "crash_prompts": Wording("""
        (keep|include|store|put|have|save|write) (prompts|my prompts|the prompts|the prompt) (in|into) (crash reports|the crash report|reports)
        """, "are my prompts in crash reports?", example="on"),
    "in_place": Wording("""
        (stop|not|avoid) (using|use|see|seeing|list|listing) (models of other programs|Ollama's models|LM Studio's models|other programs' models)
        (turn off|disable|switch off) (in_place|in-place models|the use of other programs' models)
        (hide|ignore) (the models of other programs|models of Ollama|models of LM Studio)
        """, example="off"),
    "truncate_embeddings": Wording("""
        (cut|truncate|shorten) (long texts|long inputs|too long texts) (for|in) embeddings
        """, "(Error|error): the input is too long for an embedding", example="on"),
    "ollama_registry": Wording("""
        (use|set|have) (a mirror|another address|a mirror of Ollama's registry|another registry) (for|of|instead of) (Ollama's registry|registry.ollama.ai|the Ollama registry)
        (pull|download) (models|) from (my own|our|a private) (Ollama registry|registry mirror|mirror of ollama)
        """, example="https://registry.example.org"),
    "insecure_registries": Wording("""
        (use|allow|trust|pull from|accept) (a registry over http|an insecure registry|a registry without TLS|http registries|a plain http registry|registries without https)
        """, "(Error|error): (server gave HTTP response to HTTPS client|http: server gave http response to https client)",
        example="localhost:5000"),
    "cache_dir": Wording("""
        (keep|store|save|put|move) (downloads|downloaded files|the downloads|the cache|downloaded models) (in|to|into|under) {v}
        (change|set|move) the (cache folder|cache directory|download folder|folder of downloads|cache) to {v}
        (download|pull) (models|) (to|into) {v}
        """, values="/data/cache /mnt/ssd /big/hub ~/hub /mnt/models /srv/cache /data"),
    "max_concurrent_downloads": Wording("""
        (download|pull) {v} models (at once|at the same time|in parallel|together)
        (allow|set) {v} (parallel|concurrent|simultaneous) downloads
        """, values="1 2 4 5 6 8 10"),
    "download_rate": Wording("""
        (limit|cap|throttle|slow down|restrict) (the|) (downloads|download|download speed|download rate|pull speed) to {v} (MB/s|MB per second|megabytes per second|)
        (download|pull) with (at most|only) {v} (MB/s|MB per second)
        (not|avoid to) use (my whole|all my|the whole) (bandwidth|internet line) for downloads
        """, "downloads (block|take|eat) my (internet|bandwidth|line)", values="1 2 5 10 20 3 50 100 8"),
    "offline": Wording("""
        (block|forbid|prevent|stop|turn off|disable) (all|) (downloads|online lookups|internet access|network access|downloads and lookups|access to the internet)
        (work|run|stay|go) (completely|strictly|fully|always|) offline
        (make sure|guarantee) (that|) (nothing is downloaded|oprel never goes online)
        """, example="on"),
    "hf_endpoint": Wording("""
        (use|set|have|take) (a mirror of Hugging Face|another Hugging Face endpoint|a Hugging Face mirror|hf-mirror.com|an HF mirror)
        (download|pull) from (a mirror|our mirror|a Hugging Face mirror)
        """, """
        Hugging Face is (blocked|not reachable|slow) (here|in my country|for me)
        """, example="https://hf.example.org"),
    "models": Wording("""
        (have|use|give|set) (different|other|own|separate) settings (for|per) (one model|each model|a model|some models|llama3)
        (set|change) (a setting|ctx_size|keep_alive|the context|settings) (for|of) (only one model|one model|a single model|one model only)
        (pin|always keep) (a model|one model)
        """, "can (a model|models|each model) have (its|their) own settings?"),
}  # fmt: skip

OWN_ANSWERS = {
    "engine_args": ("--engine-args=", "Start the daemon with `oprel serve --engine-args=--no-mmap`, for example."),
    "models": (
        "models:",
        "Write it in the settings file under `models:`, as in `llama3: {{pin: on}}`; see `oprel config edit`.",
    ),
}
NOT_TAUGHT = {
    "host": "for clients on other machines; `oprel help run` explains it",
    **dict.fromkeys(
        (
            "allow_unauthenticated_lan",
            "allowed_hosts",
            "api_keys",
            "engine_mirror",
            "engine_sources",
            "engine_variables",
            "hardware",
            "listen",
            "max_body_mb",
            "request_log",
            "share_with_local_users",
            "tls_certificate",
            "tls_key",
            "tls_self_signed",
            "tls_port",
            "trusted_proxies",
        ),
        "came while guide was trained; to be taught next",
    ),
}


def intents() -> tuple[Intent, ...]:
    """One for each setting of the table that is asked for here, and one for questions by a setting's own name."""
    return (*filter(None, map(_intent, Config.entries.values())), *map(_by_name, Config.entries.values()))


def flag_of(setting: DeclaredSetting) -> str:
    return f"--{setting.name.replace('_', '-')}"


def _intent(setting: DeclaredSetting) -> Intent | None:
    wording = WORDINGS.get(setting.name)
    if wording is None or not (wording.wants or wording.asks).strip():
        return None
    value = "{v}" if wording.values else wording.example
    command = f"oprel serve {flag_of(setting)} {value}"
    command, answer = OWN_ANSWERS.get(setting.name, (command, f"Start the daemon with `{command}`."))
    wants, asks = (tuple(filter(None, map(str.strip, text.splitlines()))) for text in (wording.wants, wording.asks))
    return Intent(f"setting {setting.name}", command, answer, wants, asks, tuple(wording.values.split()), 0.35, True)


def _by_name(setting: DeclaredSetting) -> Intent:
    """What is asked by the setting's name, its flag or its variable; the answer is the table's own text."""
    flag, variable = flag_of(setting), f"OPREL_{setting.name.upper()}"
    help = re.sub(r"[{}]", "", setting.help.split(";")[0])
    name = f"(the setting|) {setting.name}|{setting.name}|{flag}|{variable}|the flag {flag}|the variable {variable}"
    asks = (f"what does ({name}) (do|mean)?", f"(explain|describe) ({name})", f"what is ({name}) (for|)?",
            f"({setting.name}|{flag}|{variable})?", f"({name})")  # fmt: skip
    return Intent(f"about {setting.name}", f"oprel serve {flag}", f"`oprel serve {flag}`: {help}.", (), asks, (), 0.08,
                  True)  # fmt: skip


def untaught(settings: list[str]) -> list[str]:
    """Settings that nobody can ask for."""
    asked = {name for name, wording in WORDINGS.items() if wording.wants.strip()}
    return sorted(set(settings) - asked - set(ELSEWHERE) - set(NOT_TAUGHT))
