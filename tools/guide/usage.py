"""What guide knows of oprel: intents, their wordings, and the answers. Every command is checked against the parser.

Here stand the intents whose wordings are in part kept out of training; goals.py and settings_wordings.py have those
that are for training only, mixed_wordings.py has questions that are made of others.
"""

import argparse
import contextlib
import io
import random
import re
import shlex
from dataclasses import dataclass, replace
from functools import cache

import mixed_wordings as mixed
import settings_wordings
import wordings as extra
from goals import GOALS
from intent import Intent
from words import apart, either, expand, invented, is_held, pick, wordings

FRAMES = (
    "How do I {}?", "How can I {}?", "How to {}", "How to {}?", "how do you {}?", "What is the command to {}?",
    "Which command do I use to {}?", "What command lets me {}?", "I want to {}.", "I need to {}.",
    "I would like to {}. How?", "Show me how to {}.", "Tell me how to {}.", "Is there a way to {}?", "Can I {}?",
    "Can oprel {}?", "What's the way to {}?", "Help me {}.", "Please explain how to {}.", "What do I type to {}?",
    "With oprel, how do I {}?", "How do I {} with oprel?", "How can I {} in oprel?", "how would I {}",
    "what should I do to {}?", "I am trying to {}. What is the command?", "{}", "{}?", "{} please",
    "Could you tell me how to {}?", "Do you know how to {}?", "How does one {}?", "What is the best way to {}?",
    "Which oprel command will {}?", "Can you tell me the command to {}?", "is it possible to {}?", "I'd like to {}",
    "Let me {}.", "What must I enter to {}?",
)  # fmt: skip

MODEL = "./model.gguf"


def _serve(flag: str, wants: tuple[str, ...], values: str, tail: str, asks: tuple[str, ...] = ()) -> Intent:
    command = f"oprel serve --{flag} {{v}}"
    return Intent(f"serve {flag}", command, f"Start the daemon with `{command}`{tail}.", wants, asks,
                  tuple(values.split()), 0.7)  # fmt: skip


INTENTS = (
    Intent("run", "oprel run {m}", 'Use `oprel run {m} "your question"`; it prints one answer.', (
        "(ask|query|prompt) a model (a|one|a single) question", "(get|print) (one|a single) answer from a model",
        "run a model", "run {m}", "ask {m} (something|a question)", "run a (gguf|GGUF) (file|model)",
        "send (a prompt|one question) to a model", "use a (model|gguf file) from the (terminal|shell|command line)",
        "(generate|produce) text (with|from) a model", "start {m}", "execute a model", "try {m}",
        "(put|pose) a question to {m}", "make a model answer (once|a prompt)", "use {m}", "run my own model",
        "use a model on (my|the) disk", "generate an answer with {m}", "run a local model", "test a model quickly",
    ), ("what does oprel run do?", "What is `oprel run` for?", "oprel run?", "explain oprel run",
        "which command runs a model?", "what runs a model file?", "How is a model run?"), share=2.0),
    Intent("chat", "oprel chat {m}", "Use `oprel chat {m}`; Ctrl-D leaves the conversation.", (
        "(chat|talk|converse) with a model", "(chat|talk|speak) (to|with) {m}",
        "(have|start|open|begin) a (chat|conversation)",
        "have a conversation with a model", "start a chat (session|)", "talk to a model (interactively|at length)",
        "ask a model (several|many) questions (in a row|one after another)", "open an interactive (chat|session)",
        "keep a dialogue going with a model", "chat", "chat in the terminal", "get an interactive prompt",
        "discuss something with {m}", "hold a longer conversation with {m}",
    ), ("what does oprel chat do?", "What is `oprel chat` for?", "oprel chat?", "explain oprel chat",
        "is there an interactive mode?", "which command opens a conversation?", "is there a chat mode?"), share=1.5),
    Intent("list", "oprel list", "`oprel list` shows the models that have a name.", (
        "list (the|my|all|) models", "list (the|all|my) (installed|available|named) models", "see (my|all|the) models",
        "see (which|what) models (I have|are installed|are available|there are|exist)",
        "show (my|all|the) (installed|available|named) models", "find out (which|what) models (I have|there are)",
        "get a list of (my|the|all) models", "view the installed models", "display (all|the) available models",
        "check (which|what) models (I have|are installed|are there)", "know which models exist on this machine",
        "list everything (installed|available)", "print the names of my models", "get an overview of my models",
    ), ("(which|what) models (do I have|are there|are installed|are available|can I use)?", "what models exist here?",
        "what does oprel list do?", "What is `oprel list` for?", "oprel list?", "explain oprel list",
        "what have I installed?", "which models are on this machine?", "is there a list of models?",
        "what is the list command?"), share=1.7),
    Intent("ps", "oprel ps", "`oprel ps` shows the loaded models and their engines.", (
        "see (which|what) models are (loaded|running|in memory|active)",
        "(list|show) (the|all|) (loaded|running|active) models",
        "(check|find out) (which|what) (model|models) (is|are) (loaded|running|in memory) (now|right now|)",
        "see what is (running|loaded|in memory)", "(check|see|find out) if a model is (loaded|running|still in memory)",
        "view (the|all) running (engines|models)", "see the engines", "list the (running|loaded) engines",
        "see the process id of an engine", "find out the pid of the engine", "(display|view) the loaded models",
        "see how long a model stays loaded", "check whether {m} is (loaded|running)", "see what oprel is doing",
        "show what is loaded (now|at the moment|)", "check the state of the engines", "see the status of my models",
        "know what is using memory", "see until when a model stays",
    ), ("(which|what) (models|model) (is|are) (loaded|running|in memory|active) (now|right now|)?",
        "what is (running|loaded|in memory) (now|right now|)?", "is (any|a|some) model (loaded|running|in memory)?",
        "what does oprel ps do?", "What is `oprel ps` for?", "oprel ps?", "explain oprel ps",
        "is {m} (loaded|running)?",
        "which engines are (running|active)?", "what occupies my memory?", "are there any running models?"), share=2.0),
    Intent("show", "oprel show {m}", "`oprel show {m}` tells what the file says about itself.", (
        "(see|get|show|view|find) (details|information|info|facts|data) (of|about|on) a model",
        "inspect a model (file|)",
        "inspect {m}",
        "see the (quantization|architecture|context length|parameters|size|capabilities) of (a model|{m})",
        "find out the (quantization|architecture|context length|parameter count|capabilities) of (a model|{m})",
        "get (details|information|info) about {m}", "look into {m}", "learn (more|something) about a model",
        "check what a model (can do|supports)", "read the metadata of (a model|{m})", "describe a model",
        "see what is inside (a gguf file|{m})", "know how many parameters (a model|{m}) has", "show {m}",
        "check which quantization {m} has", "view the properties of a model",
    ), ("what does oprel show do?", "What is `oprel show` for?", "oprel show?", "explain oprel show",
        "what is known about {m}?", "how (big|large) is {m}?", "what (quantization|architecture) does {m} have?",
        "does {m} support (tools|thinking|embeddings)?", "what can {m} do?", "what kind of model is {m}?"), share=1.6),
    Intent("stop", "oprel stop {m}", "`oprel stop {m}` unloads it at once.", (
        "(stop|unload|release|free|end|kill|quit) a model", "(stop|unload|release|free|end|drop) {m}",
        "(stop|unload|shut down) a (running|loaded) model", "(free|release) (the|my|some|) memory",
        "get a model out of memory", "remove a model from memory", "get rid of a loaded model", "let go of a model",
        "free the memory (a model|{m}) uses", "(shut down|terminate|stop) an engine", "make a model leave memory",
        "unload a model (now|at once|immediately|)", "take {m} out of (memory|RAM)", "clear the memory",
        "free (the GPU|RAM|VRAM)", "end a running model", "close a model",
    ), ("what does oprel stop do?", "What is `oprel stop` for?", "oprel stop?", "explain oprel stop",
        "which command unloads a model?", "my memory is full, how do I unload the model?", "how is a model stopped?",
        "how is a model unloaded?", "the model uses too much memory, how do I free it?"), share=1.8),
    Intent("stop daemon", "oprel stop --daemon", "`oprel stop --daemon` ends the daemon and its engines.", (
        "(stop|end|quit|kill|shut down) the (daemon|server|service)", "shut oprel down", "stop oprel",
        "turn the daemon off", "get rid of the daemon", "end the background service", "terminate oprel's server",
        "stop all of oprel", "close down the server", "have no daemon running any more", "kill the oprel process",
        "switch the server off", "stop what runs in the background", "exit the daemon", "make oprel end",
        "shut everything down", "stop the daemon and its engines", "put an end to the daemon",
    ), ("how is the daemon stopped?", "what stops the daemon?", "which command ends the server?",
        "oprel stop --daemon?", "what does oprel stop --daemon do?", "how does the daemon end?",
        "I want the daemon gone", "the daemon should stop", "how do I get rid of the server process?",
        "how is the server shut down?", "can the daemon be ended?", "does the daemon run for ever?"), share=1.4),
    Intent("serve", "oprel serve",
        "`oprel serve` runs the daemon in the foreground; other commands start it by themselves.", (
        "(start|run|launch) the (daemon|server|service)", "(start|launch|run) oprel as a (server|daemon|service)",
        "start the oprel (daemon|server)", "run the (daemon|server) in the foreground", "start the API (server|)",
        "bring up the (daemon|server)", "(serve|offer) models over (HTTP|the network|an API)", "launch the API",
        "get the server running", "boot the daemon", "start serving models", "turn on the server",
        "make oprel listen for requests", "begin serving",
    ), ("what does oprel serve do?", "What is `oprel serve` for?", "oprel serve?", "explain oprel serve",
        "do I (have|need) to start the (daemon|server) (first|myself|)?", "is there a server?", "what is the daemon?",
        "which command starts the (daemon|server)?", "the daemon is not running", "how is the server started?"),
        share=1.5),
    Intent("get", "oprel pull", "`oprel pull NAME` downloads a model; `oprel search WORD` finds one.", (
        "(download|get|install|pull|fetch|obtain) a (model|real model|new model|better model|bigger model)",
        "add a (new|) model",
        "(get|use) a (bigger|smarter|larger|better|real|stronger) model",
        "download models (by name|from the internet|)",
        "find (a model|models|gguf files)", "install (a|another|new) model", "pull a model from Hugging Face",
        "switch to a (real|better|bigger) model", "replace you with a better model",
        "get models from (Hugging Face|the web)", "acquire a model", "get more models", "obtain a smarter assistant",
    ), ("where (do|can) I (get|find|download) (models|a model|gguf files)?", "where do models come from?",
        "is there (an|) oprel pull (command|)?", "oprel pull?", "does oprel have a pull command?", 
        "can oprel download models?", "which model should I (use|download|take)?", "I have no model",
        "what do I do without a model?", "do you have a better model?", "I need a real model", "no models installed",
        "where are real models?"), share=2.0),
    Intent("list json", "oprel list --json", "`oprel list --json` prints the models as JSON.", (
        "(list|get|print) (the|my|all) models (as|in) JSON", "(get|print) the (list of models|model list) (as|in) JSON",
        "list models in a (machine readable|script friendly) (form|format)", "have oprel list print JSON",
        "see the installed models as JSON", "get JSON from the list command", "export the names of my models as JSON",
    ), (), share=0.5),
    Intent("ps json", "oprel ps --json", "`oprel ps --json` prints the loaded models as JSON.", (
        "(get|print|list|show) the (loaded|running) models (as|in) JSON", "have oprel ps print JSON",
        "see what is (loaded|running) (as|in) JSON", "get JSON from the ps command", "list the engines as JSON",
        "get the engine states in JSON", "show the running engines as JSON",
    ), (), share=0.5),
    Intent("show json", "oprel show {m} --json", "`oprel show {m} --json` prints it as JSON.", (
        "(get|print|show) (the details|the facts|information) of a model (as|in) JSON", "show {m} as JSON",
        "have oprel show print JSON", "inspect a model in JSON", "get the metadata of {m} as JSON",
        "describe {m} in JSON", "get JSON from the show command",
    ), (), share=0.5),
    Intent("keepalive", 'oprel run {m} "your question" --keepalive {v}',
        'Use `oprel run {m} "your question" --keepalive {v}`.', (
        "run a model and keep it loaded for {v}", "keep {m} loaded for {v} after one answer",
        "run {m} and keep it in memory for {v}", "ask a question and keep the model (loaded|in memory) for {v}",
        "make {m} stay loaded for {v}", "run {m} with a keepalive of {v}", "let {m} stay in memory for {v}",
        "hold {m} in memory for {v} after the answer",
    ), (), tuple("1m 2m 3m 5m 10m 15m 20m 30m 45m 90m 1h 2h 3h 4h 6h 8h 12h 24h 30s 60s 90s".split()), 0.8),
    Intent("verbose", 'oprel run {m} "your question" --verbose',
        '`oprel run {m} "your question" --verbose` shows tokens and speed.', (
        "see (how fast|the speed of) (a model|{m}) (is|)", "measure the (speed|tokens per second) of (a model|{m})",
        "see the tokens per second", "see (the number of tokens|token counts) after an answer", "benchmark {m}",
        "find out how (fast|quick) {m} answers", "show timing (information|figures|)", "check the generation speed",
        "get statistics after an answer", "time a model",
    ), ("how fast is {m}?", "how many tokens per second does {m} make?", "what is the speed of {m}?",
        "is there a verbose mode?"), share=0.8),
    Intent("pipe", "oprel run {m}", 'Pipe it: `cat notes.txt | oprel run {m} "Summarise this"`.', (
        "(pipe|feed|send) (a file|text|a text file) (to|into) a model", "use (standard input|stdin) as the prompt",
        "give a model a file to read", "summarise a (file|text|document)",
        "pass (a file|the output of a command) to a model",
        "pipe (something|the output of git diff) into oprel", "feed {m} a file", "let a model read a text file",
        "send stdin to {m}", "use oprel in a pipe", "write a commit message with a model",
    ), ("does oprel read (stdin|standard input)?", "can I pipe text into oprel?", "does oprel work in shell pipes?"),
        share=0.9),
    _serve("server-port", (
        "(run|start) the (daemon|server) on port {v}", "(change|set) the port to {v}", "use port {v}",
        "make the (daemon|server) listen on port {v}", "serve on port {v}", "listen on {v} instead of the default port",
        "use {v} as the port", "move the server to port {v}", "switch to port {v}", "have the API on port {v}",
    ), "8080 8000 9000 5000 3000 11434 11435 7777 8888 12000 6060 4444 9090 8081 5050 2345 10000 31337 6543 7001 8443",
        ""),
    _serve("server-host", (
        "(reach|use) the (daemon|server) from (other|another) (machines|computer)",
        "listen on all (addresses|interfaces)",
        "let other (machines|computers) (connect|use the daemon)", "open the server to (my network|the LAN|others)",
        "make the daemon (visible|reachable) on the network", "expose the API to other computers",
        "share the server with other machines", "connect from another machine", "accept clients from the network",
        "bind to all interfaces", "use oprel over the network",
    ), "0.0.0.0", " on a network you trust"),
    Intent("keep for ever", "oprel serve --keep-alive -1", "Start the daemon with `oprel serve --keep-alive -1`.", (
        "keep (a model|models|{m}) loaded (for ever|forever|all the time|always)", "never unload (a model|models)",
        "stop oprel from unloading my model", "prevent a model from being unloaded",
        "keep models in memory permanently",
        "disable unloading", "make models stay in memory (forever|for ever)", "always have the model ready",
        "turn off the idle timeout", "keep the model from going away",
    ), ("why is my model unloaded after five minutes?",
    "the model is unloaded all the time, can I stop that?"), share=0.8),
    _serve("keep-alive", (
        "keep idle models loaded for {v}", "unload idle models after {v}", "set the (keep alive|idle) time to {v}",
        "change the keep alive (time|) to {v}", "let idle models stay for {v}", "set the default keep alive to {v}",
        "have the daemon unload models after {v}", "make the idle timeout {v}", "keep all models loaded for {v}",
    ), "1m 2m 3m 10m 15m 20m 30m 45m 1h 2h 3h 4h 6h 8h 12h 24h 30s 60s 90s", ""),
    _serve("ctx-size", (
        "(set|change) the context (size|length|) to {v}", "use a context of {v} (tokens|)",
        "get a context of {v} tokens",
        "(run|serve) with a context of {v}", "have a (longer|bigger|larger) context of {v} tokens",
        "give models {v} tokens of context",
        "increase the context length to {v}", "raise the context window to {v}", "make the context window {v} tokens",
    ), "1024 2048 8192 16384 32768 65536 4000 6000 12000 24000 3072 6144 10240 20480 131072", ""),
    Intent("longer context", "oprel serve --ctx-size 16384", "Start the daemon with `oprel serve --ctx-size 16384`.", (
        "(get|have|use|set) a (longer|larger|bigger) context (window|length|size|)",
        "(increase|change|raise|extend) the context (length|size|window|)",
        "make the context (longer|larger|bigger)", "let a model remember (more|longer texts)", "fit longer texts",
        "enlarge the context", "use long prompts", "give the model more context",
    ), ("my prompt is too long", "the prompt exceeds the context, what now?", "the context is too short"), share=0.8),
    _serve("n-threads", (
        "use {v} (CPU|) threads", "(limit|set) the (number of|) (CPU|) threads to {v}", "run engines with {v} threads",
        "use only {v} (cores|CPU cores)", "give an engine {v} threads", "restrict oprel to {v} threads",
        "set the thread count to {v}", "let the engine use {v} cores",
    ), "1 2 3 4 5 6 7 8 10 12 14 16 20 24 32 48 64", ""),
    _serve("n-gpu-layers", (
        "put {v} layers on the GPU", "offload {v} layers to the GPU", "use {v} GPU layers", "set the GPU layers to {v}",
        "load {v} layers on my graphics card", "place {v} layers on the GPU", "move {v} layers to the GPU",
        "run {v} layers on the graphics card",
    ), "1 2 4 5 8 10 12 16 20 24 28 30 32 33 40 48 50 60 64 80 99", ""),
    Intent("cpu only", "oprel serve --n-gpu-layers 0", "Start the daemon with `oprel serve --n-gpu-layers 0`.", (
        "(run|work) without (a|the|my) GPU", "use only the (CPU|processor)", "(turn off|disable|avoid) the GPU",
        "run on the CPU only", "not use the (GPU|graphics card)", "force CPU mode", "keep everything on the CPU",
        "switch off GPU offloading", "stop using the graphics card",
    ), ("is there a CPU only mode?",), share=0.6),
    Intent("gpu", "oprel engines install llama.cpp",
        "`oprel engines install llama.cpp` installs an engine for your GPU; `oprel doctor` checks it.", (
        "use (the|my|a) (GPU|graphics card)", "run on (the|my|a) GPU", "make oprel use the GPU", "get GPU acceleration",
        "speed things up with a GPU", "enable (the|) GPU (support|)", "use CUDA", "use Vulkan", "turn on the GPU",
    ), ("does oprel (use|support) (the GPU|GPUs|CUDA|Metal|Vulkan)?", "does oprel need a GPU?", "do I need a GPU?",
        "is a graphics card needed?"), share=0.8),
    _serve("kv-cache-type", (
        "use a {v} KV cache", "set the (KV|key value) cache (type|) to {v}", "store the KV cache as {v}",
        "quantize the KV cache to {v}", "make the KV cache {v}", "change the cache type to {v}",
        "have the KV cache in {v}",
    ), "f32 f16 bf16 q8_0 q5_1 q5_0 q4_1 q4_0", ""),
    _serve("flash-attention", (
        "turn {v} flash attention", "turn flash attention {v}", "switch flash attention {v}",
        "set flash attention to {v}",
        "have flash attention {v}", "run the daemon with flash attention {v}",
    ), "on off auto", ""),
    _serve("parallel", (
        "answer {v} requests at (once|the same time)", "allow {v} parallel requests",
        "serve {v} (users|clients) at once",
        "handle {v} requests in parallel", "set the number of parallel requests to {v}",
        "let {v} clients ask at the same time",
        "process {v} requests simultaneously", "have {v} slots",
    ), "1 2 3 5 6 7 8 9 10 12 14 15 16 20 24 30 32 64", ""),
    _serve("batch-size", (
        "set the batch size to {v}", "use a batch size of {v}", "process {v} prompt tokens per batch",
        "change the batch size to {v}", "use batches of {v} (tokens|)", "make the batch size {v}",
        "read prompts in batches of {v}",
    ), "32 64 128 256 384 512 1024 2048 4096 100 200 300 400 600", ""),
    _serve("log-level", (
        "set the log level to {v}", "log at (the|) {v} level", "change the log level to {v}", "use the log level {v}",
        "make the daemon log at level {v}", "switch logging to {v}", "run the daemon with {v} logging",
    ), "debug info warning error", ""),
    Intent("debug", "oprel serve --log-level debug", "Start the daemon with `oprel serve --log-level debug`.", (
        "(get|see) (more|detailed|verbose) (logs|logging|log messages)", "(debug|troubleshoot) the (daemon|server)",
        "make the daemon log more", "turn on debug logging", "get more detail in the log", "enable debug output",
        "increase the log level", "have a chattier log",
    ), (), share=0.6),
    Intent("config file", "oprel serve --config",
        "Put it into `~/.config/oprel/config.yaml`, or `oprel serve --config my.yaml`.", (
        "use (a|my own|another) (configuration|config) file",
        "(change|edit|set) (the|my|) (settings|configuration|options|preferences)",
        "configure oprel", "(save|store|keep) (my|) settings (permanently|)", "give the daemon a config file",
        "make a setting permanent", "customise oprel", "adjust the defaults", "set options permanently",
    ), ("where is the (config|configuration|settings) (file|)?", "where are (the|my) settings?",
    "is there a config file?",
        "what is config.yaml?", "which settings are there?", "where do I put my settings?"), share=1.2),
    _serve("home", (
        "(use|set) {v} as the home folder", "keep models and logs in {v}", "store everything in {v}",
        "change the home folder to {v}", "move the data folder to {v}", "keep oprel's data in {v}",
        "use the folder {v} for data",
    ), "/data /srv/oprel /mnt/disk /opt/oprel /tmp/oprel ~/llm ~/models "
        "/home/me/ai /var/oprel /mnt/ssd ~/stuff /big", ""),
    _serve("engine-path", (
        "use {v} as the engine", "use the engine (at|in) {v}", "use my own llama-server {v}", "set the engine to {v}",
        "make oprel use {v} as its engine", "run models with the engine {v}", "choose {v} as the engine",
    ), "/opt/llama-server /usr/bin/llama-server ~/llama-server ./llama-server "
        "/opt/llama.cpp/llama-server /srv/llama-server",
        ""),
    Intent("own engine", "oprel serve --engine-path", "Use `oprel serve --engine-path /opt/llama.cpp/llama-server`.", (
        "use (another|my own|a different|a custom) (engine|llama-server|llama.cpp)", "choose (the|an) engine",
        "change the engine",
        "use my own build of llama.cpp", "use a llama-server I built", "select a different engine", "pick the engine",
        "set a custom llama-server",
    ), ("which engine does oprel use?", "what engine is used?"), share=0.9),
    Intent("engines folder", "oprel serve --binary-dir", "Use `oprel serve --binary-dir /path/to/engines`.", (
        "change the folder of engines", "keep engines in another folder", "set the engines folder",
        "use another folder for engines",
        "tell oprel where engines are installed", "set the folder of installed engines", "use a folder of binaries",
    ), (), share=0.4),
    Intent("load timeout", "oprel serve --load-timeout {v}",
        "Start the daemon with `oprel serve --load-timeout {v}`.", (
        "set the load timeout to {v}", "wait {v} for a model to load", "allow {v} for loading",
        "give a loading model {v}",
        "change the load timeout to {v}", "let loading take {v}", "raise the loading time limit to {v}",
    ), (), tuple("1m 2m 10m 15m 20m 30m 1h 90s 3m 7m 8m 12m".split()), 0.5),
    Intent("origins", "oprel serve --origins", "Use `oprel serve --origins https://your.site`.", (
        "allow (a|my) (web page|website|web app|site) to use the (API|daemon)", "use the API from a (browser|web page)",
        "allow (other|more|web) origins", "fix a CORS error", "allow a web origin", "let my website call oprel",
        "permit browser requests", "set the allowed origins",
    ), ("why is my web page refused?", "I get a CORS error"), share=0.7),
    Intent("version", "oprel --version", "`oprel --version` prints the version.", (
        "(see|check|print|find out|show|get|know) (the|my|which) version (of oprel|)", "find out which version I have",
        "see which oprel version is installed", "check the version number", "tell which release this is",
        "look up the installed version",
    ), ("(what|which) version (is this|do I have|of oprel is this|am I running)?", "what is the version?", "version?",
        "which release of oprel is this?"), share=0.9),
    Intent("help", "oprel --help", "`oprel --help` lists the commands; `oprel run --help` explains one.", (
        "(see|list|show|get|learn) (all|the|) (commands|oprel commands)", "get help", "see the help",
        "find out what commands there are", "learn how to use oprel", "see the (flags|options) of a command",
        "read the manual", "get started (with oprel|)", "use oprel", "find the documentation",
    ), ("(what|which) commands (are there|does oprel have|exist|can I use)?", "help", "help me", "I need help",
        "how does oprel work?", "is there a manual?", "what can oprel do?", "how do I start?", "what now?",
        "where is the help?", "what are the commands?"), share=1.3),
    Intent("logs", "~/.oprel/logs/daemon.log",
        "`oprel logs` shows the daemon's log; it is `~/.oprel/logs/daemon.log`.", (
        "(see|read|find|view|open|check) (the|) (logs|log|log file|daemon's log|error log)",
        "find out why the daemon failed",
        "find the log of the daemon", "look at the log (file|)", "see what the daemon logged", "get to the logs",
    ), ("where (is|are) the (log|logs|log file|log files)?", "where does oprel log?", "is there a log (file|)?",
        "where do I find the daemon's log?", "which file is the log?"), share=0.9),
    Intent("python", "oprel.chat", 'In Python: `import oprel`, then `oprel.chat("{m}", messages)`.', (
        "use oprel (from|in|with) Python", "call oprel from (Python|a Python script|my program|my code)",
        "use the Python (API|library)",
        "chat with a model from Python", "write a Python program with oprel", "import oprel", "use oprel as a library",
        "run a model in a Python script", "script oprel in Python", "build an app with oprel in Python",
    ), ("is there a Python (API|library|package|client)?", "does oprel have a Python (API|library)?",
        "can I use Python?", "show me a Python example"), share=1.0),
    Intent("no daemon", "use_server=False", 'In Python: `oprel.Model("{m}", use_server=False)` needs no daemon.', (
        "use a model without (the|a) daemon", "run a model in Python without the (daemon|server)",
        "work without a daemon",
        "avoid the daemon", "use the direct mode", "embed a model in my program without a server",
        "go without the server",
        "skip the daemon",
    ), ("is the daemon needed?", "does oprel always need the daemon?", "what is direct mode?"), share=0.7),
    Intent("embed", ".embed(", 'In Python: `oprel.Model("{m}").embed(["your text"])`.', (
        "(get|compute|make|create|calculate) (embeddings|an embedding|vectors)",
        "turn text into (vectors|a vector|embeddings)",
        "embed (a text|some text|sentences|documents)", "use an embedding model", "get the embedding of a sentence",
        "vectorise text", "compute sentence vectors",
    ), ("does oprel support embeddings?", "are embeddings possible?"), share=0.8),
    Intent("ollama", "http://127.0.0.1:11435", "Point the Ollama client at `http://127.0.0.1:11435`.", (
        "use (an|my|the) Ollama (client|library|app)", "connect (an|my|the) Ollama (client|library|app) to oprel",
        "use oprel with Ollama's (client|library|clients)", "use Open WebUI (with oprel|)", "connect Open WebUI",
        "make my Ollama program talk to oprel",
        "use the Ollama API", "call the (HTTP|REST) API",
    ), ("is oprel compatible with Ollama?", "does oprel (speak|support) the Ollama API?",
    "does oprel work with Ollama clients?",
        "what is the (address|URL) of the (API|daemon|server)?",
        "(what|which) port does (oprel|the daemon|the server) (use|listen on)?",
        "what is the default port?", "is there an HTTP API?", "where does the daemon listen?"), share=1.5),
    Intent("leave", "Ctrl-D", "Ctrl-D or /bye leaves a chat; Ctrl-C stops an answer.", (
        "(leave|exit|quit|end|close) (a|the|this) (chat|conversation)", "stop an answer",
        "interrupt (an answer|the model)",
        "get out of the chat", "cancel an answer", "make the model stop talking", "abort a running answer",
        "exit this", "quit oprel chat", "break off an answer",
    ), ("how do I exit?", "how do I quit?", "how do I get out of here?"), share=0.9),
    Intent("forget", "/clear", "Type `/clear` in the chat; it forgets the conversation.", (
        "(clear|reset|forget|erase) (the|a|this) (conversation|chat|history)", "start the chat (over|again|afresh)",
        "make the model forget (everything|what I said)", "begin a new conversation in the chat",
        "wipe the chat history",
        "restart the conversation",
    ), (), share=0.6),
    Intent("variables", "OPREL_", "Yes: for example `OPREL_KEEP_ALIVE=1h`; every setting has such a variable.", (
        "use environment variables", "set options (with|by|through) environment variables",
        "configure oprel with environment variables",
        "set a setting as an environment variable", "pass settings in the environment",
    ), ("which environment variables (are there|does oprel read)?", "are there environment variables?",
        "does oprel read environment variables?", "what are the environment variables?"), share=0.5),
    Intent("models folder", "~/.oprel/models",
        "Names are kept in `~/.oprel/models`; a model itself can be any .gguf file on disk.", (
        "find the models folder", "find out where models are (stored|kept|saved)",
        "see where oprel (keeps|stores|saves) models",
        "locate my models on disk", "open the models folder",
    ), ("where are (the|my) models (stored|kept|saved|)?", "where does oprel (keep|store|save) (the|its|) models?",
        "in which folder are the models?", "where do models go?", "what is the models folder?"), share=0.7),
    Intent("format", ".gguf", "oprel runs models in GGUF format: .gguf files, for example from Hugging Face.", (), (
        "(which|what) (file|model) formats (are supported|does oprel support|work|can oprel run)?",
        "what is (a gguf file|GGUF)?",
        "which format (must|should) a model have?", "does oprel support (safetensors|ONNX|PyTorch) (models|files|)?",
        "what (kind|kinds|type|types) of models (does oprel run|work with oprel|are supported)?",
        "which models does oprel support?",
        "can oprel run safetensors?", "what format do models need?"), share=0.8),
    Intent("what is oprel", "local daemon",
        "oprel is a local daemon for language models; `oprel --help` lists its commands.", (), (
        "what is (oprel|this|this program)?", "what does oprel do?", "tell me about oprel", "explain oprel", "oprel?",
        "what is oprel (good|made|) for?", "why should I use oprel?", "describe oprel", "what's oprel?",
        "can you explain what oprel is?", "what is the purpose of oprel?"), share=1.0),
    Intent("private", "on this machine", "Yes, models run on this machine and need no internet.", (), (
        "(is|are) (my data|it|oprel|my chats) private?",
        "does oprel (work|run) (offline|without internet|without the internet)?",
        "do I need (the|an|) internet (connection|)?", "does oprel send my data anywhere?", "can I use oprel offline?",
        "is anything sent to the cloud?", "does my data leave this machine?", "are models run locally?"), share=0.7),
)  # fmt: skip

# Further wordings, by the intent's name; what stands in a frame, and whole questions.
MORE: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "run": (("run it", "ask it something", 
        "put one question to a model", "get a single reply from {m}", "get one reply",
        "have a model answer one question",
        "launch {m} with a prompt", "query {m}", "let a model write something", "run this file: {m}",
        "give {m} a prompt",
        "run a gguf I have on disk", "have {m} say something", "use my gguf file", "evaluate a prompt with {m}",
        "play with {m}", "work with a model file on this disk", "run a language model", "run an LLM",
        "answer one prompt",
        "start a model", "use a model", "ask {m} once", "make a one-off request", "prompt {m} from the shell",
    ), ("what is the command for one answer?", "which command asks a model once?", "what does run do?", "run?",
        "I have {m}, now what?", "here is {m}, how do I ask it something?", "how is a prompt sent to a model?",
        "how are models run?", "I downloaded {m}, how do I run it?", "how do I use {m}?", "what is run for?")),
    "chat": (("chat with it", "talk to it", 
        "start chatting", "begin chatting with {m}", "talk with {m}", "have a back and forth with a model", "chat here",
        "speak with a model for a while", "ask follow-up questions", "have a talk with {m}", "get into a chat",
        "have an ongoing conversation", "start a dialogue", "enter the chat", "open a chat with {m}", "chat with {m}",
        "hold a conversation", "exchange several messages with a model", "open a session to talk in",
    ), ("what does chat do?", "chat?", "which command is for chatting?", "how is a conversation started?",
        "I want more than one answer, I want to talk", "what is chat for?",
        "how can we have a conversation in the terminal?")),
    "list": ((
        "show me my models", "enumerate the models", "show every model I have", "look at the models I have",
        "see everything that is installed", "find the names of my models", "list what I can run", "list models",
        "see which names I can use", "browse my models", "view all my models", "look up which models I own",
        "show the model list", "see the names of the models here", "see what I have got",
        "list whatever is on this machine",
    ), ("what does list do?", "list?", "which models have a name?", "what models can I choose from?", "list",
        "are there any models on this computer?", "which models do I own?", "what do I have here?", "models?",
        "which models exist?", "do I have any models?", "what is list for?", "is any model installed?")),
    "ps": (("see whether it is loaded", "check if it is still running", 
        "look at the running models", "watch the engines", "see if anything is loaded", "tell if {m} is in memory",
        "tell whether some model is active", "see what the memory is used for", "check on the engines",
        "show which models are loaded at this moment", "know if a model still runs", "look what is running",
        "see the status of the engines", "monitor the models", "check what is loaded", "find the running models",
        "know whether {m} is still loaded", "get the current state of the loaded models", "view active models",
        "see how many models are loaded", "inspect the running engines", "show the running models",
    ), ("what does ps do?", "ps?", "is something running?", "what is active?", "are engines running?",
    "anything loaded?",
        "which model is in use?", "currently loaded models?", "what's loaded?", "what is currently in memory?",
        "did the model stay in memory?", "is {m} still there?", "what is ps for?", "which models occupy memory now?",
        "how many models are running?", "what is the status?", "is {m} in memory?")),
    "show": (("get its details", "see its size", 
        "get the properties of {m}", "know the size of {m}", "look at {m}", "look into a model file",
        "view {m} in detail",
        "find out what {m} is", "read what is inside a model file", "know what is in {m}", "see facts on {m}",
        "see how large {m} is", "display the facts about {m}", "find the context length of {m}", "see what {m} can do",
        "check the architecture of a model", "tell what a gguf file contains", "examine {m}", "analyse {m}",
        "get to know {m}", "list the capabilities of {m}",
    ), ("what does show do?", "show?", "what is in {m}?", "what is {m}?", "which context length has {m}?",
        "how many parameters has {m}?", "is {m} able to call tools?", "tell me about {m}",
        "what is the context of {m}?",
        "what is show for?", "is {m} quantized?", "what do we know of {m}?")),
    "stop": (("unload it", "stop it", "get it out of memory", 
        "kill {m}", "quit {m}", "turn off a model", "switch off a model", "close {m}", "throw {m} out of memory",
        "stop whatever is loaded", "shut {m} down", "get my memory back", "have {m} unloaded",
        "drop a loaded model",
        "let {m} go", "make room in memory", "give the memory back", "have a model leave the memory",
        "stop using {m}", "end an engine", "kill the engine", "empty the memory", "abort a model", "unload everything",
        "kill a running model", "get RAM back", "make {m} go away", "cancel a model",
    ), ("what does stop do?", "stop?", "how does a model get out of memory?", "I am done with {m}",
    "what frees memory?",
        "out of memory, what now?", "{m} is no longer needed", "I do not need {m} any more", "what is stop for?",
        "how is memory freed?", "I want my RAM back", "what ends a model?", "how are models unloaded?")),
    "serve": ((
        "launch oprel's server", "start oprel", "start the service by hand", "have the daemon run", "have a server",
        "start the background service", "fire up the server", "run oprel as a background service", "get the daemon up",
        "launch the service", "start a daemon", "run a server", "bring the API up", "start the HTTP server",
        "run the service in this terminal", "get a server going", "initiate the daemon", "power up the server",
    ), ("what does serve do?", "serve?", "the server does not run, how do I start it?",
    "must I start the server first?",
        "must the daemon be started?", "how does the daemon start?", "how is the daemon run?", "no daemon is running",
        "the daemon is down", "is the daemon started by itself?", "need I start a server?", "what is serve for?",
        "who starts the daemon?", "what runs the server?")),
    "get": ((
        "try a larger model", "use a stronger model", "take another model", "choose a model",
        "pick a model to download",
        "get something smarter than you", "obtain a gguf file", "have a proper model", "upgrade to a better model",
        "have a model with more knowledge", "find a good model",
        "load a model from the web", "get a model that knows more", "pull models",
        "use a big model in place of you", "install models", "bring in a model from Hugging Face",
    ), ("which model is good?", "which model should I take?", "what model do you recommend?", "where are gguf files?",
        "where do I download a model?", "which model shall I get?", "is downloading possible?",
        "give me a real model", "there are no models", "how are models installed?", "how are models added?",
        "can I download models with oprel?", "where from do I get a model?", "no model is here, what now?",
        "can models be downloaded?", "does oprel come with models?", "where to get a model?")),
    "keepalive": (("run {m} with --keepalive {v}", "have {m} loaded for {v} more",
        "ask once and hold the model for {v}",
        "get an answer from {m} and let it stay {v}", "leave {m} in memory for {v}",
        "keep a model for {v} after a question",
        "give {m} a keepalive of {v}", "keep {m} around for {v}", "not unload {m} for {v}", "let a model stay {v}"),
        ()),
    "verbose": (("know the speed of a model", "know how many tokens per second I get", "see the generation rate",
        "measure {m}", "get the timing of an answer", "see counts and speed", "count the tokens of an answer",
        "check how fast {m} runs", "know how long an answer took", "print statistics", "test the performance of {m}"),
        ("tokens per second?", "how quick is {m}?", "is {m} slow or fast?", "what speed has {m}?",
        "how do I get the speed?")),
    "pipe": (("use shell pipes", "give oprel a text from another program", "send a document to {m}",
        "hand a file to {m}",
        "summarise notes.txt", "put a file into the prompt", "read the prompt from a file", "combine oprel with cat",
        "pass stdin", "let {m} read a log file", "use the output of a program as the prompt", "pipe text to {m}"),
        ("can it read from a pipe?", "do pipes work?", "can the prompt come from a file?", "is stdin read?")),
    "serve server-port": (("run on port {v}", "start on port {v}", "get port {v}", "make {v} the port", "pick port {v}",
        "have the daemon listen on {v}", "bind to port {v}", "use another port, {v}", "use TCP port {v}",
        "put the API on port {v}", "start oprel on port {v}", "alter the port to {v}", "get the server onto port {v}"),
        ("I want port {v}", "I need the daemon on port {v}", "port {v}?", "can the port be {v}?")),
    "serve server-host": (("make the server public", "let my phone reach oprel", "use oprel from my other computer",
        "reach oprel from elsewhere", "listen on every address", "accept remote connections", "offer oprel on the LAN",
        "let my colleagues use my server", "serve other machines", "allow connections from outside"),
        ("can other computers use it?", "why can't other machines connect?", "is remote access possible?")),
    "keep for ever": (("have a model stay for ever", "keep {m} permanently", "never let a model go",
        "always keep a model",
        "keep models without a time limit", "hold models for ever", "leave models loaded all day"),
        ("can a model stay loaded for ever?", "why does my model disappear?")),
    "serve keep-alive": (("have idle models wait {v}", "let models idle for {v}", "unload after {v}",
        "keep alive for {v}",
        "use a keep alive of {v}", "have a keep alive time of {v}", "give idle models {v}"), ("keep alive {v}?",)),
    "serve ctx-size": (("have {v} tokens of context", "set the context window to {v}", "use ctx size {v}",
        "enlarge the context to {v}", "change the context window to {v}", "extend the context to {v} tokens",
        "get a context size of {v}", "make the context {v} long", "use a {v} token context", "let the context be {v}"),
        ("I need {v} tokens of context", "context {v}?")),
    "longer context": (("work with long prompts", "send longer texts", "let it read longer prompts",
        "make room for long texts",
        "have more context", "set a large context", "raise the context limit", "widen the context window",
        "fit a long prompt",
        "make a model remember longer conversations", "let the model see more text"), ("can the context be longer?",)),
    "serve n-threads": (("run on {v} threads", "change the threads to {v}", "have {v} threads", "set threads to {v}",
        "use {v} cores", "run on only {v} cores", "make engines use {v} threads", "limit the CPU to {v} threads",
        "let it have {v} CPU threads", "work with {v} threads", "cap the threads at {v}"), ("{v} threads?",)),
    "serve n-gpu-layers": (("have {v} layers on the GPU", "set n-gpu-layers to {v}", "let the GPU take {v} layers",
        "give the GPU {v} layers", "run with {v} GPU layers", "keep {v} layers on the card"),
        ("{v} layers on the GPU?",)),
    "cpu only": (("use no GPU", "run everything on the processor", "leave the GPU alone", "work with the CPU only",
        "run on just the CPU", "ignore the graphics card"), ("does it run on the CPU only?",
        "can I run without a GPU?")),
    "gpu": (("run models on my graphics card", "get the GPU to work", "have the GPU used", "put work on the GPU"),
        ("is the GPU used?", "why is my GPU not used?", "does it run on NVIDIA?", "can oprel use my GPU?")),
    "serve kv-cache-type": (("run with a {v} cache", "get a {v} cache", "let the KV cache be {v}",
        "use {v} for the KV cache",
        "keep keys and values as {v}", "switch the KV cache to {v}"), ("{v} cache?",)),
    "serve flash-attention": (("use flash attention: {v}", "make flash attention {v}", "put flash attention {v}",
        "have the flash attention setting {v}"), ("flash attention {v}?",)),
    "serve parallel": (("let {v} users ask at once", "have {v} parallel slots", "run {v} requests at the same time",
        "work on {v} requests at once", "use {v} slots", "serve {v} people at the same time", "permit {v} clients",
        "set parallel to {v}", "have {v} users at once"), ("can {v} clients ask at once?",)),
    "serve batch-size": (("have a batch size of {v}", "read {v} prompt tokens at a time", "set the batch to {v}",
        "take prompts {v} tokens at a time", "run with batch size {v}"), ("batch size {v}?",)),
    "serve log-level": (("log {v} messages", "get {v} logging", "set logging to {v}", "have the log at {v}",
        "use {v} logs", "let the daemon log {v}"), ("log level {v}?",)),
    "debug": (("see debug messages", "raise the log level", "log everything", "turn on more logging",
        "find a bug in the daemon",
        "switch on debug logs", "turn debugging on"), ("can the log say more?",)),
    "config file": (("keep my options in a file", "save my options", "store my preferences", "edit config.yaml",
        "have settings that stay", "write my settings down", "set something for ever", "use a yaml file",
        "set up oprel"),
        ("what can be configured?", "which options are there?", "what settings exist?", "where are options kept?",
         "what is in the config file?", "where do settings go?", "is there a settings file?",
         "what are the settings?")),
    "own engine": (("take another engine", "pick a different llama-server", "use another llama.cpp", "swap the engine",
        "set which engine is used", "run my llama-server"), ("can I use my own engine?", "can the engine be changed?")),
    "load timeout": (("set the time for loading to {v}", "change the time limit of loading to {v}",
        "wait up to {v} for loading",
        "make the load timeout {v}"), ("load timeout {v}?",)),
    "origins": (("open the API to my web app", "use oprel in a web page", "let a browser use the daemon"),
        ("my web page gets an error", "CORS?", "why can my website not use it?", "why does the browser refuse?",
         "my site is refused", "I have a CORS problem")),
    "version": (("see the number of the version", "check which version runs", "look at the version",
        "print version information"),
        ("what is my version?", "how new is this oprel?", "which version?", "what version number is this?")),
    "help": (("get going with oprel", "begin with oprel", "learn the commands", "see a list of commands",
        "start with oprel"),
        ("can you help me with oprel?", "what commands can I use?", "please help", "what can I do here?",
        "list the commands",
         "which commands exist?", "I am new here", "how do I begin?", "I am lost", "show the help", "teach me oprel",
         "which things can oprel do?", "usage?")),
    "logs": (("look into the log", "look at the daemon's log", "see error messages of the daemon", "show the log file"),
        ("where can I see the logs?", "where are errors logged?", "log file?", "what happened to the daemon?",
         "where is the daemon's log kept?", "why did the daemon crash?")),
    "python": (("write code that uses oprel", "use it from my Python code", "call a model from a program",
        "program with oprel",
        "write a script with oprel", "use it from Python", "call oprel in code", "access oprel in Python"),
        ("Python?", "how does the Python library work?", "does it work in Python?", "is there Python support?")),
    "no daemon": (("work without the server", "do it without a daemon", "have no daemon at all",
        "use Python only, no daemon"),
        ("is there a way without the daemon?", "can I do without the daemon?", "must the daemon run?")),
    "embed": (("get sentence vectors", "compute vectors for texts", "get vectors of sentences", "produce embeddings"),
        ("embeddings?", "can oprel make embeddings?", "how do embeddings work in oprel?")),
    "ollama": (("let Ollama clients connect", "use an app made for Ollama", "use an Ollama app with oprel",
        "find the API address"),
        ("is it compatible with Ollama's API?", "does Ollama's client work?", "can Ollama programs use oprel?",
        "Ollama?",
         "is the API like Ollama's?", "what is the API's address?", "at which address is the server?", "port?",
         "which port is used?", "on which port is the daemon?", "does it work with ollama clients?")),
    "leave": (("get out", "go out of a chat", "finish the chat", "stop the model's answer", "quit this"),
        ("how can I exit?", "quit?", "exit", "how is a chat ended?", "how do I get back to the shell?",
        "how do I stop talking?",
         "how do I end this?")),
    "forget": (("start again with an empty chat", "start over", "delete what I said in the chat", "empty the chat",
        "have it forget what we said", "start the conversation anew", "drop the history"),
        ("can you forget our conversation?", "how is the chat cleared?")),
    "variables": (("pass an option as a variable", "use a variable in place of a flag", "export a setting in the shell",
        "set a variable for a setting", "use OPREL_ variables"), ("is there a variable for each setting?",
        "what variables are there?", "environment variables?", "can a variable set an option?")),
    "models folder": (("know where models are", "know in which folder models are", "see where the models are kept"),
        ("where are models saved?", "which folder holds the models?", "where on disk are my models?",
         "where does it store models?", "does oprel keep models in a folder?", "where does it save its models?")),
    "format": ((), ("what formats does it support?", "which file formats can I use?", "is GGUF needed?",
        "file formats?",
        "what files can it run?", "what format is supported?", "which kind of file is a model?",
        "must it be a gguf file?")),
    "what is oprel": ((), ("so what is this oprel?", "what exactly is oprel?", "what kind of program is oprel?",
        "why would I use this?", "why use oprel?", "why is there oprel?", "what am I using here?",
        "oprel, what is that?",
        "please explain what this program does", "give me a summary of oprel", "what is oprel used for?",
        "say what oprel is")),
    "private": ((), ("is it private?", "can it run offline?", "can this be used without the internet?",
        "do my prompts stay here?",
        "is the internet needed?", "does it work without a connection?", "is my text sent somewhere?", "offline?",
        "are my questions sent to a server on the internet?", "can oprel be used offline?")),
}  # fmt: skip


def _with_more(intent: Intent) -> Intent:
    wants, asks = MORE.get(intent.name, ((), ()))
    return replace(intent, wants=intent.wants + wants, asks=intent.asks + asks)


EXAMINED = tuple(map(_with_more, INTENTS))
INTENTS = (*EXAMINED, *GOALS, *settings_wordings.intents())
BY_NAME = {intent.name: intent for intent in INTENTS}
MORE_FRAMES = apart(extra.FRAMES, FRAMES)
MORE_WANTS = {intent.name: apart(extra.WANTS.get(intent.name, ()), intent.wants + intent.asks) for intent in INTENTS}
MORE_ASKS = {intent.name: apart(extra.ASKS.get(intent.name, ()), intent.wants + intent.asks) for intent in INTENTS}
TRAINED = frozenset(
    wording
    for intent in EXAMINED
    for text in (*intent.wants, *intent.asks)
    if not is_held(text)
    for wording in wordings(text)
)


@cache
def choices(patterns: tuple[str, ...], held: bool) -> list[list[str]]:
    """The wordings of each pattern of one side. What a trained pattern can say too is not held out."""
    sides = [[w for w in wordings(text) if not held or w not in TRAINED] for text in patterns if is_held(text) == held]
    return [side for side in sides if side]


STEMS = """mistral llama qwen phi gemma tiny model my-model test smollm falcon granite olmo deepseek yi orca vicuna
codellama starcoder zephyr hermes nemo small big chat base m a""".split()
PREFIXES = ("./", "./", "./", "./", "~/", "models/", "./models/", "/data/", "~/models/", "", "../", "/tmp/")
TAILS = ("", "", "", "-7b", "-3b", "-q4", "-q8", "-1b", "2", "3", "-instruct", "-mini")
FAMILIES = """llama3 llama2 llama3.1 llama3.2 qwen3 qwen2.5 qwen2.5-coder qwen mistral mixtral mistral-nemo gemma3
gemma2 gemma phi4 phi3 phi4-mini deepseek-r1 deepseek-coder smollm2 smollm granite3 codellama tinyllama starcoder2 olmo2
falcon3 yi command-r nomic-embed-text all-minilm llava llama hermes3 zephyr vicuna orca-mini gpt-oss guide""".split()
TAGS = (
    "",
    "",
    "",
    "",
    ":7b",
    ":8b",
    ":70b",
    ":1b",
    ":3b",
    ":0.6b",
    ":latest",
    ":14b",
    ":32b",
    ":q4_K_M",
    ":27b",
    ":q8_0",
)
ORGANISATIONS = ("Qwen", "ggml-org", "unsloth", "bartowski", "TheBloke", "google", "meta-llama", "lmstudio-community")


def model_path(rng: random.Random, held: bool) -> str:
    stem = pick(rng, STEMS, held) if rng.random() < 0.5 else invented(rng, held)
    return f"{rng.choice(PREFIXES)}{stem}{rng.choice(TAILS)}.gguf"


def model_name(rng: random.Random) -> str:
    """A name as registries have them; for training only. Half of them are invented, so that they must be copied."""
    stem = (
        rng.choice(FAMILIES) if rng.random() < 0.55 else invented(rng, False) + rng.choice(("", "", "2", "3", "-mini"))
    )
    if rng.random() < 0.06:
        return f"hf.co/{rng.choice(ORGANISATIONS)}/{stem.capitalize()}-GGUF{rng.choice(('', ':Q4_K_M', ':Q8_0'))}"
    return stem + rng.choice(TAGS)


def a_model(rng: random.Random, intent: Intent, held: bool) -> str:
    """A path or a name, whichever fits. Files are imported, and only names are pulled."""
    if held or intent.name == "import":
        return model_path(rng, held)
    named = 1.0 if intent.name in NAMED else 0.8 if intent.trained else 0.4
    return model_name(rng) if rng.random() < named else model_path(rng, held)


NAMED = ("pull", "update model", "not found", "push")


@dataclass(frozen=True)
class Asked:
    """A question with its right answer and the command the answer must hold. `kept` are words to be copied."""

    question: str
    answer: str
    command: str
    topic: str
    kept: tuple[str, ...] = ()


def ask(rng: random.Random, intent: Intent, held: bool) -> Asked:
    """A wording of `intent`: of the held-out templates when `held`, else of the others."""
    core, framed = _core(rng, intent, held)
    pattern = _framed(either(rng, FRAMES, MORE_FRAMES, held), core) if framed else core
    return _filled(rng, intent, pattern, held)


def _core(rng: random.Random, intent: Intent, held: bool) -> tuple[str, bool]:
    """What is wanted, or a whole question; and whether it is to stand in a frame."""
    if intent.trained:
        wanted = rng.random() < len(intent.wants) * 1.3 / (len(intent.wants) * 1.3 + len(intent.asks))
        return expand(rng, rng.choice(intent.wants if wanted else intent.asks)), wanted and rng.random() < 0.7
    wants, asks = choices(intent.wants, held), choices(intent.asks, held)
    framed = bool(wants) and rng.random() < len(wants) * 2 / (len(wants) * 2 + len(asks))
    more = () if held else (MORE_WANTS if framed else MORE_ASKS)[intent.name]
    core = rng.choice(more) if more and rng.random() < 0.5 else rng.choice(rng.choice(wants if framed else asks))
    return core, framed


def _filled(rng: random.Random, intent: Intent, pattern: str, held: bool) -> Asked:
    model = a_model(rng, intent, held) if "{m}" in pattern else intent.model
    value = pick(rng, intent.values, held) if intent.values else ""
    if not held and rng.random() < 0.6:
        value = _any_digits(rng, value)
    fill = {"m": model, "v": value}
    kept = tuple(fill[key] for key in fill if f"{{{key}}}" in pattern)
    texts = (text.format(**fill) for text in (pattern, intent.answer, intent.command))
    return Asked(*texts, intent.name, kept)


def _other_tool(rng: random.Random) -> Asked:
    pattern, name = mixed.other_tool(rng)
    return _filled(rng, BY_NAME[name], pattern, False)


def _both(rng: random.Random) -> Asked:
    """Two wants in one question: both answers, one after the other."""
    one, two = (BY_NAME[name] for name in rng.sample(mixed.TOGETHER, 2))
    first, second = (_filled(rng, intent, expand(rng, _want(rng, intent)), False) for intent in (one, two))
    asked = mixed.both(rng, first.question, second.question)
    return Asked(asked, f"{first.answer} {second.answer}", first.command, f"{one.name}, {two.name}",
                 first.kept + second.kept)  # fmt: skip


def _want(rng: random.Random, intent: Intent) -> str:
    """What is wanted, for a sentence with something else."""
    return rng.choice(intent.wants) if intent.trained else rng.choice(rng.choice(choices(intent.wants, False)))


def _unsure(rng: random.Random) -> Asked:
    name = model_name(rng)
    return Asked(mixed.unsure(rng, name), mixed.UNSURE, "oprel help", "something else", (name,))


def _framed(frame: str, core: str) -> str:
    return frame.replace("{}", core, 1)


def _any_digits(rng: random.Random, value: str) -> str:
    """In training a number can be any other one of as many digits, so that it must be copied: "12h" is "83h"."""
    match = re.fullmatch(r"([0-9]+)([smh]?)", value)
    if match is None:
        return value
    longest = len(match[1])
    changed = f"{rng.randint(10 ** (longest - 1), 10**longest - 1)}{match[2]}"
    return value if is_held(changed) else changed


def draw(rng: random.Random, held: bool) -> Asked:
    """A question about usage, of any intent that has wordings on this side."""
    kind = 1.0 if held else rng.random()
    if kind < 0.06:
        return _other_tool(rng)
    if kind < 0.13:
        return _both(rng)
    if kind < 0.19:
        return _unsure(rng)
    able, shares = _able(held)
    return ask(rng, rng.choices(able, shares)[0], held)


@cache
def _able(held: bool) -> tuple[list[Intent], list[float]]:
    able = [
        one for one in INTENTS if (not held if one.trained else choices(one.wants, held) or choices(one.asks, held))
    ]
    return able, [one.share * (1.0 if held or one.trained else REHEARSED) for one in able]


REHEARSED = 0.7  # of the intents that the file which training starts from knows already


def unknown_commands(parser: argparse.ArgumentParser) -> list[list[str]]:
    """The commands taught that oprel's own parser does not accept."""
    return [command for command in taught() if not _accepts(parser, command)]


def taught() -> list[list[str]]:
    """The arguments of every oprel command that an answer holds; those made of the table of settings aside."""
    answers = [
        intent.answer.format(m=MODEL, v=value)
        for intent in INTENTS
        if not intent.name.startswith("about ")
        for value in intent.values or ("1",)
    ]
    commands = (
        re.search(r"(?:^|[(|] ?)oprel ([^)|]*)", code)
        for answer in answers
        for code in re.findall(r"`([^`]*)`", answer)
    )
    return [shlex.split(command[1]) for command in commands if command]


def _accepts(parser: argparse.ArgumentParser, arguments: list[str]) -> bool:
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            rest = parser.parse_known_args([word.replace("--think", "--think=true") for word in arguments])[1]
    except SystemExit as exit:
        return exit.code == 0
    return not any(word.startswith("-") for word in rest)  # a prompt may follow flags
