"""Still more wordings of usage.py's intents, for training only: grids of verbs and objects.

The examination asks with usage.py's own held-out wordings; what equals one of those is left out here.
"""

from words import grid

A_MODEL = "a model|one of my models|the model|{m}"
WHAT_IS = "what is|what's|explain|tell me about|what does one do with|when do I use"
DAEMON = "the daemon|the server|the oprel daemon|the oprel server|the service|the API server"


def command(name: str) -> tuple[str, ...]:
    """Questions about a command itself."""
    return (
        *grid("what is|explain|describe|tell me about|when do I use|why would I use", f"oprel {name}|`oprel {name}`"),
        *grid("what does|what will", f"oprel {name}|`oprel {name}`|the {name} command", "do?"),
        *grid("what is|what's|explain|describe", f"the {name} command|the command {name}"),
    )


def serve_with(flag: str, names: str, *wants: str) -> tuple[str, ...]:
    """What one says to set a number of the daemon's."""
    return (
        *grid("set|change|put|adjust|switch|bring", names, "to {v}"),
        *grid("use|have|get|choose|configure|pick|take", names.replace("the ", "a "), "of {v}"),
        *grid("run|start|launch", "the daemon|the server|oprel", "with", names.replace("the ", "a "), "of {v}"),
        *grid("make|let", names, "be {v}"),
        f"start the daemon with --{flag} {{v}}",
        f"use the flag --{flag} {{v}}",
        f"pass --{flag} {{v}}",
        *wants,
    )


# What may stand around a want. {} is the want.
FRAMES = (
    *grid(
        "How|Tell me how|Show me how|Do you know how|I wonder how|how exactly",
        "do I|can I|could I|should I|may I|do we|might I|does a user|would one",
        "{}",
        "?|",
    ),
    *grid(
        "What is|What's|Tell me|Show me|Give me|Do you know|I need|I am looking for|which is",
        "the command|the oprel command|the way|the right command|the best way|the shortest way|a command|a way",
        "to {}",
        "?|",
    ),
    *grid(
        "Which command|What command|What option|Which command of oprel|What",
        "do I use|do I need|can I use|should I use|must I type|do I type|helps me|is there|lets me|will",
        "to {}",
        "?|",
    ),
    *grid(
        "Can I|Can you|Could I|Could you|Will oprel|Does oprel let me|Am I able to|May I|"
        "Is it easy to|Can one|Is it allowed to|can a user|Would you",
        "{}",
        "?|",
    ),
    *grid(
        "Is there|Does oprel have|Do we have|Is there any|Do you know",
        "a way|a command|an option|a possibility|a trick|some way",
        "to {}",
        "?|",
    ),
    *grid(
        "I want to|I'd love to|I need to|I have to|I must|I wish to|I try to|I'm trying to|"
        "I am about to|We want to|I would like to|My task is to|My goal is to|Now I want to|"
        "I plan to|Let us|I tried to",
        "{}|{}.|{}, how?|{}. What do I do?|{}. Which command is that?|{}. How does that work?|{} with oprel",
    ),
    *grid(
        "Please|Just|Now|Can you please|Could you please|Kindly",
        "help me|tell me how to|explain how to|show me how to|show me the command to|let me",
        "{}",
        "|.",
    ),
    *grid(
        "Can you tell me|Could you show me|Do you know|Will you explain|Would you tell me|"
        "Can you explain|I don't know|I forgot|I do not remember|Explain|Describe|Remind me|Say|"
        "Tell us",
        "how to {}|how I {}|how I can {}|how one can {}|the way to {}",
        "?|.|",
    ),
    *grid(
        "What|Which thing",
        "do I do|should I do|must I do|do I have to do|can I do|do I enter|do I write|do I run|"
        "should I run|would I type",
        "to {}|if I want to {}|when I want to {}",
        "?|",
    ),
    *grid(
        "In order to {},|To {},|If I want to {},",
        "what do I do?|which command do I use?|what do I type?|what must I run?|how?",
    ),
    *grid("{}", "|, please|, how?|, which command?|with oprel|with oprel?|in oprel|now|- how?|for me"),
    *grid(
        "oprel:|question:|in oprel,|with oprel,|using oprel,",
        "how do I {}?|how can I {}?|how to {}|can I {}?|{}|I want to {}",
    ),
    *grid("how does|how can|how could|how should|how would", "someone|one|a person|a beginner|anybody|we", "{}", "?|"),
    *grid(
        "is|would|will|was",
        "it",
        "possible for me to {}|feasible to {}|hard to {}|possible with oprel to {}|difficult to {}",
        "?",
    ),
)

WANTS: dict[str, tuple[str, ...]] = {
    "run": (
        *grid(
            "ask|query|prompt",
            "a model|a local model|my model|{m}",
            "one thing|a question|a single thing|once|one time",
        ),
        *grid(
            "run|start|launch|execute|use|try|try out|test",
            "a model|a model file|a gguf file|a .gguf|{m}|my model|a local LLM|the file {m}",
        ),
        *grid(
            "get|have|obtain|print",
            "an answer|one answer|a single answer|a reply|one reply|a response",
            "from a model|from {m}|out of {m}",
        ),
        *grid("send|give|pass", "a prompt|one prompt|a question|one question", "to a model|to {m}|to my model"),
        *grid(
            "make|let|have",
            "a model|{m}|my model",
            "answer|answer a question|reply once|write an answer|write a text|complete a prompt",
        ),
        *grid(
            "generate|produce|write|create",
            "text|some text|an answer|a reply",
            "with a model|with {m}|using {m}|from {m}",
        ),
        *grid("answer|complete|process", "a prompt|one prompt|a question|a single question", "|with a model|with {m}"),
        *grid("try|use|run|start", "it once|a prompt|one prompt"),
    ),
    "chat": (
        *grid(
            "chat|talk|speak|converse",
            "with a model|with {m}|with my model|with an LLM",
            "|for a while|at length|in the terminal|interactively",
        ),
        *grid(
            "talk|speak",
            "to a model|to {m}|to my model",
            "|for a while|at length|in the terminal|interactively|for longer",
        ),
        *grid(
            "start|open|begin|have|launch|hold",
            "a chat|a conversation|a dialogue|a discussion|an interactive session|a chat session",
            "|with a model|with {m}",
        ),
        *grid(
            "ask|send",
            "a model|{m}",
            "several questions|many questions|more than one question|one question after another|follow-up questions",
        ),
        *grid(
            "start|enter|open|use|get into", "the chat|chat mode|interactive mode|the interactive mode|the chat mode"
        ),
        *grid("keep|go on|continue", "talking to a model|chatting with a model|talking with {m}|chatting"),
    ),
    "list": (
        *grid(
            "list|show|see|print|display|view|enumerate|get|look at|browse",
            "my models|the models|all models|the installed models|the available models|all my models|"
            "the models I have|every model I have|the models on this machine|the names of my models",
        ),
        *grid(
            "get|see|print|show|have",
            "a list of|an overview of",
            "my models|the models|all models|the installed models|what is installed",
        ),
        *grid(
            "see|find out|check|know|look up|learn",
            "which|what",
            "models I have|models are installed|models there are|models are available|models exist|"
            "models I can use|models are on this machine|models have a name",
        ),
        *grid(
            "see|list|show|check|view",
            "what is installed|everything I have|all that is installed|what I have installed|what I have here",
        ),
    ),
    "ps": (
        *grid(
            "list|show|see|print|display|view|check|look at|monitor|watch",
            "the running models|the loaded models|the active models|running models|loaded models|"
            "models in memory|the running engines|the engines|what is running|what is loaded",
        ),
        *grid(
            "see|find out|check|know|tell|look up|learn",
            "which|what",
            "models are running|models are loaded|model is running|model is loaded|"
            "models are in memory|models are active|models run now|engines run|"
            "model is in memory now",
        ),
        *grid(
            "see|find out|check|know|tell",
            "if|whether",
            "a model is loaded|a model is running|{m} is loaded|{m} is running|a model is in memory|"
            "{m} is in memory|any model is loaded|something is running|an engine runs|"
            "my model is loaded|it is running",
        ),
        *grid(
            "see|find|get|know|check",
            "the status|the state|the process ids|the pids",
            "of the engines|of the models|of my models|of the loaded models|of the running models",
        ),
        *grid(
            "see|find out|check|know",
            "how long|until when",
            "a model is kept|a model stays in memory|{m} stays loaded|models stay loaded",
        ),
    ),
    "show": (
        *grid(
            "see|get|show|view|find|print|read|display|look up",
            "the details|details|information|the metadata|the facts|the properties|data|more",
            "of {m}|about {m}|of a model|about a model|on my model|on {m}",
        ),
        *grid(
            "see|find out|get|know|check|show|look up",
            "the quantization|the architecture|the context length|the size|the parameter count|"
            "the capabilities|the chat template",
            "of {m}|of a model|of my model|of a gguf file",
        ),
        *grid(
            "inspect|examine|describe|analyse|study|look into|look inside|know more about|learn about",
            "{m}|a model|my model|a model file|a gguf file|the file {m}",
        ),
        *grid(
            "see|find out|check|know|tell",
            "what {m} can do|what is in {m}|how big {m} is|how large a model is|"
            "which quantization {m} has|whether {m} can call tools|what a model supports|"
            "whether a model can think|how many parameters {m} has|what kind of model {m} is",
        ),
    ),
    "stop": (
        *grid(
            "stop|unload|end|kill|quit|drop|close|terminate|shut down|turn off|switch off|release|abort",
            "a model|the model|my model|{m}|a running model|a loaded model|the loaded model|"
            "the running model|the engine of {m}",
        ),
        *grid("stop|unload|end|kill|shut down|drop", "{m}|a model|the model", "now|at once|immediately|again|by hand"),
        *grid(
            "remove|take|get|throw|push|drop|kick|clear",
            "{m}|a model|the model|my model",
            "out of memory|from memory|from RAM|out of RAM|from the memory|off the GPU",
        ),
        *grid(
            "free|release|clear|empty|get back|reclaim|regain",
            "memory|the memory|my memory|RAM|my RAM|VRAM|the GPU memory|the memory of a model|"
            "the memory that {m} uses|the memory {m} takes",
        ),
        *grid("make|have|let", "{m}|a model|the model", "stop|leave memory|unload|go away|quit|end"),
        *grid("stop using|let go of|be done with", "{m}|a model|a loaded model|the running model"),
    ),
    "stop daemon": (
        *grid("stop|end|quit|kill|shut down|terminate|halt|turn off|switch off|exit|close|bring down", DAEMON),
        *grid(
            "stop|end|shut down|turn off|kill|halt",
            "oprel|oprel completely|everything|oprel's daemon|oprel's server|the whole thing|"
            "the background process|the oprel service|oprel in the background",
        ),
        *grid("make", DAEMON, "stop|quit|exit|end|go away|shut down"),
        *grid("have|get", DAEMON, "stopped|shut down|ended"),
        *grid("stop|end|kill", DAEMON, "now|again|at once|cleanly|and all its engines|and all models"),
        *grid("take|bring", "the daemon|the server|oprel", "down"),
    ),
    "serve": (
        *grid("start|run|launch|boot|bring up|fire up|turn on|switch on|begin|open", DAEMON),
        *grid("start|run|launch|use", "oprel", "as a server|as a daemon|as a service|in the foreground|in server mode"),
        *grid(
            "start|run|launch",
            "the daemon|the server|the service",
            "myself|by hand|in the foreground|in this terminal|now|again|manually",
        ),
        *grid(
            "get|have", "the daemon|the server|the service|the API|a server", "running|started|up|going|up and running"
        ),
        *grid(
            "serve|offer|provide",
            "models|my models|an API|a model",
            "over HTTP|over an API|to other programs|to clients|to my programs",
        ),
        *grid("make", "oprel|the daemon|the server", "run|start|listen|wait for requests|accept requests"),
    ),
    "get": (
        *grid(
            "get|download|install|fetch|obtain|find|acquire|add|pull",
            "a model|a real model|another model|a new model|a better model|a bigger model|"
            "more models|a smarter model|a gguf file|models|a large model|an LLM",
        ),
        *grid(
            "get|download|pull|fetch|take|load|import",
            "a model|models|gguf files|a gguf file",
            "from Hugging Face|from the internet|from the web|from somewhere|from the hub",
        ),
        *grid(
            "switch|change|move|upgrade",
            "to a",
            "real model|better model|bigger model|smarter model|larger model|stronger model|proper model",
        ),
        *grid(
            "use|have|take",
            "something|a model that is",
            "better than you|smarter than guide|more clever than you|larger than guide|"
            "bigger than you|better than guide",
        ),
        *grid(
            "replace",
            "you|guide|this tiny model|the built-in model",
            "with a real model|with a bigger one|by a better model|with something smarter",
        ),
    ),
    "list json": (
        *grid(
            "list|print|get|show|export|see|output",
            "my models|the models|all models|the installed models|the list of models|the model list|"
            "the names of my models",
            "as JSON|in JSON|in JSON format|as a JSON list",
        ),
        *grid("get|have|make", "oprel list|the list command", "print JSON|output JSON|in JSON|give JSON"),
    ),
    "ps json": (
        *grid(
            "list|print|get|show|export|see|output",
            "the running models|the loaded models|what is running|what is loaded|the engines|"
            "the running engines|the active models",
            "as JSON|in JSON|in JSON format|as a JSON list",
        ),
        *grid("get|have|make", "oprel ps|the ps command", "print JSON|output JSON|in JSON|give JSON"),
    ),
    "show json": (
        *grid(
            "print|get|show|export|see|output|read",
            "the details of {m}|the metadata of a model|the facts about {m}|"
            "information about a model|the properties of {m}|details about a model",
            "as JSON|in JSON|in JSON format",
        ),
        *grid("show|describe|inspect", "{m}|a model|a model file", "as JSON|in JSON|in JSON format"),
        *grid("get|have|make", "oprel show|the show command", "print JSON|output JSON|in JSON|give JSON"),
    ),
    "keepalive": (
        *grid(
            "keep|hold|leave|let",
            "{m}|a model|the model",
            "in memory for {v}|loaded for {v}|stay for {v}|ready for {v}",
            "|after an answer|after a run|after a question",
        ),
        *grid(
            "run|ask|use",
            "{m}|a model",
            "and keep it for {v}|and keep it loaded for {v}|and let it stay for {v}|"
            "with a keepalive of {v}|and hold it in memory for {v}",
        ),
        *grid(
            "have|make", "{m}|a model", "stay loaded for {v}|stay in memory for {v}|wait for {v}|remain loaded for {v}"
        ),
    ),
    "verbose": (
        *grid(
            "see|measure|check|know|show|get|find out|test|print|time",
            "the speed|the tokens per second|the generation speed|the token rate|the performance|the timing",
            "|of a model|of {m}|of my model|of an answer",
        ),
        *grid(
            "see|check|know|find out|measure|test",
            "how fast|how quick|how slow",
            "a model is|{m} is|{m} answers|a model answers|{m} runs|a model generates|my model is",
        ),
        *grid(
            "see|count|show|get|print",
            "the number of tokens|the tokens|how many tokens there are|token counts|statistics",
            "in an answer|of an answer|after an answer|after a run|of a run",
        ),
        *grid("benchmark|time|clock", "{m}|a model|my model|an answer|a run"),
    ),
    "pipe": (
        *grid(
            "pipe|send|feed|pass|give|hand|put",
            "a file|a text|text|notes.txt|a document|a log file|the output of a command|stdin|some text",
            "to a model|to {m}|into a model|into {m}|to oprel|into oprel",
        ),
        *grid(
            "let|make|have",
            "a model|{m}",
            "read a file|read a text|read stdin|read my notes|read a document|summarise a file|summarise a text",
        ),
        *grid(
            "summarise|summarize|shorten",
            "a file|a text|a document|my notes|a text file|a log",
            "|with a model|with {m}|with oprel",
        ),
        *grid(
            "use|read",
            "stdin|standard input|a file|a pipe|the output of a command",
            "as the prompt|as a prompt|as input|for the prompt",
        ),
    ),
    "serve server-port": (
        *serve_with("server-port", "the port|the server port|the TCP port|the daemon's port"),
        *grid(
            "run|start|launch|put|have|move|open",
            "the daemon|the server|the API|oprel|the service",
            "on port {v}|at port {v}",
        ),
        *grid(
            "make|let|have",
            "the daemon|the server|oprel|the API",
            "listen on port {v}|listen on {v}|use port {v}|listen at {v}|answer on port {v}",
        ),
        *grid("use|take|choose|listen on|serve on|bind to", "port {v}|port number {v}|{v} as the port|{v} as port"),
    ),
    "serve server-host": (
        *grid(
            "let|allow|make",
            "other machines|other computers|other devices|my phone|my laptop|my network|the network|other people",
            "use the daemon|use the server|reach the daemon|reach the server|connect|use oprel|connect to oprel",
        ),
        *grid(
            "use|reach|access|call|query",
            "the daemon|the server|oprel|the API|my models",
            "from another machine|from another computer|from my phone|from the network|"
            "over the network|from other machines|from other computers|from my laptop",
        ),
        *grid(
            "open|expose|offer|share|publish",
            "the daemon|the server|oprel|the API",
            "to the network|to other machines|on my network|to other computers|on the LAN|to everyone",
        ),
        *grid(
            "listen|bind|serve",
            "on all addresses|on all interfaces|to all interfaces|on every address|on 0.0.0.0|"
            "on the network|on every interface",
        ),
        *grid(
            "make",
            "the daemon|the server|oprel",
            "listen on all addresses|listen on all interfaces|reachable from outside|"
            "reachable for others|visible to others",
        ),
    ),
    "keep for ever": (
        *grid(
            "keep|hold|leave",
            "a model|models|{m}|my model|all models",
            "loaded for ever|loaded forever|in memory for ever|in memory all the time|loaded always|"
            "loaded permanently|in memory without end|ready for ever",
        ),
        *grid("never|not", "unload a model|unload models|unload my model|drop a model|unload {m}|unload anything"),
        *grid(
            "stop|prevent|keep",
            "oprel|the daemon",
            "from unloading models|from unloading {m}|from unloading my model|from dropping a model",
        ),
        *grid(
            "disable|turn off|switch off|avoid|stop",
            "unloading|the unloading|the idle timeout|automatic unloading|the unloading of models|the keep alive limit",
        ),
        *grid(
            "make|let|have",
            "a model|models|{m}",
            "stay for ever|stay loaded for ever|stay in memory forever|stay loaded all the time|never leave memory",
        ),
    ),
    "serve keep-alive": (
        *serve_with(
            "keep-alive", "the keep alive|the keep alive time|the idle time|the idle timeout|the default keep alive"
        ),
        *grid(
            "keep|hold|leave",
            "idle models|unused models|all models|models|every model",
            "for {v}|loaded for {v}|in memory for {v}",
        ),
        *grid(
            "unload|drop|release|stop",
            "idle models|unused models|models|every model",
            "after {v}|after {v} of idling|when idle for {v}",
        ),
        *grid(
            "let|make|have",
            "idle models|models|unused models|the daemon",
            "stay for {v}|wait {v}|stay loaded for {v}|keep models for {v}|unload models after {v}",
        ),
    ),
    "serve ctx-size": (
        *serve_with("ctx-size", "the context|the context size|the context length|the context window|the ctx size"),
        *grid(
            "use|have|get|give a model|serve with|run models with|allow",
            "{v} tokens of context|a context of {v} tokens|a {v} token context|a context window of {v} tokens",
        ),
        *grid(
            "increase|raise|extend|enlarge|grow|widen|lower",
            "the context|the context size|the context length|the context window",
            "to {v}|to {v} tokens",
        ),
    ),
    "longer context": (
        *grid(
            "get|have|use|set|give a model",
            "a longer|a larger|a bigger|more|a big|a long",
            "context|context window|context size|context length",
        ),
        *grid(
            "increase|extend|raise|enlarge|grow|widen|change",
            "the context|the context size|the context length|the context window|the limit of the context",
        ),
        *grid(
            "use|send|read|fit|process|work with|handle",
            "long prompts|longer prompts|long texts|longer texts|a long document|a long prompt|very long texts",
        ),
        *grid(
            "let|make|have",
            "a model|the model|{m}",
            "read longer texts|remember more|see more text|read long prompts|accept longer prompts",
        ),
    ),
    "serve n-threads": (
        *serve_with(
            "n-threads", "the threads|the number of threads|the thread count|the CPU threads|the number of cores"
        ),
        *grid(
            "use|run on|run with|work with|have|limit oprel to|restrict the engine to|give the engine|allow",
            "{v} threads|{v} CPU threads|{v} cores|{v} CPU cores|only {v} threads|just {v} threads|"
            "{v} processor threads",
        ),
        *grid(
            "let|make",
            "the engine|engines|oprel|a model",
            "use {v} threads|run on {v} threads|use {v} cores|have {v} threads",
        ),
    ),
    "serve n-gpu-layers": (
        *grid(
            "put|offload|move|load|place|keep|run|have|push",
            "{v} layers",
            "on the GPU|onto the GPU|to the GPU|on my graphics card|on the card|in the GPU",
        ),
        *grid(
            "use|set|have|give the engine|run with|configure",
            "{v} GPU layers|{v} layers on the GPU|GPU layers of {v}|{v} offloaded layers",
        ),
        *grid(
            "set|change|adjust", "the GPU layers|the number of GPU layers|the layers on the GPU|n-gpu-layers", "to {v}"
        ),
        *grid(
            "let|make|have",
            "the GPU|the graphics card|my GPU",
            "take {v} layers|hold {v} layers|run {v} layers|do {v} layers",
        ),
    ),
    "cpu only": (
        *grid(
            "run|work|use oprel|run models|run a model",
            "without the GPU|without a GPU|on the CPU only|only on the CPU|on the processor only|"
            "without a graphics card|on CPU",
        ),
        *grid(
            "disable|avoid|turn off|switch off|not use|ignore|leave out|stop using",
            "the GPU|my GPU|the graphics card|GPU offloading|GPU layers",
        ),
        *grid(
            "use|force|keep to|stay on|take", "only the CPU|just the CPU|only the processor|CPU only mode|the CPU alone"
        ),
        *grid(
            "make|let|have",
            "oprel|the engine|models",
            "use only the CPU|run on the CPU only|not use the GPU|ignore the GPU",
        ),
    ),
    "gpu": (
        *grid(
            "use|enable|turn on|activate|switch on|get|have",
            "the GPU|my GPU|a GPU|the graphics card|GPU support|CUDA|Vulkan|GPU acceleration|my NVIDIA card",
        ),
        *grid(
            "run|execute|work|run models|run a model",
            "on the GPU|on my GPU|on a graphics card|on my graphics card|with CUDA|with the GPU",
        ),
        *grid(
            "make|let|have",
            "oprel|the engine|a model|models",
            "use the GPU|use my GPU|run on the GPU|use my graphics card|run on my graphics card",
        ),
    ),
    "serve kv-cache-type": (
        *serve_with("kv-cache-type", "the KV cache|the KV cache type|the cache type|the type of the KV cache"),
        *grid(
            "use|have|get|choose|run with|take",
            "a {v} KV cache|a {v} cache|{v} for the KV cache|{v} as the cache type|a KV cache in {v}",
        ),
        *grid(
            "store|keep|quantize|save|hold",
            "the KV cache|the cache|keys and values|the key value cache",
            "as {v}|in {v}|with {v}",
        ),
    ),
    "serve flash-attention": (
        *grid(
            "set|turn|switch|put|change",
            "flash attention|the flash attention|the flash attention setting",
            "to {v}|{v}",
        ),
        *grid(
            "run|start|use|serve|launch",
            "the daemon|the server|oprel|models",
            "with flash attention {v}|with flash attention set to {v}",
        ),
        *grid("have|make|let", "flash attention|the flash attention setting", "{v}|be {v}"),
        *grid("use|choose|pick", "{v} for flash attention|the flash attention mode {v}|flash attention mode {v}"),
    ),
    "serve parallel": (
        *serve_with(
            "parallel", "the parallel requests|the number of slots|the number of parallel requests|the parallelism"
        ),
        *grid(
            "answer|serve|handle|process|allow|take|accept|work on|run",
            "{v} requests|{v} clients|{v} users|{v} questions|{v} conversations",
            "at once|in parallel|at the same time|at a time|simultaneously",
        ),
        *grid(
            "let|have|make",
            "{v} users|{v} clients|{v} people|{v} programs",
            "ask at once|connect at once|work at the same time|ask in parallel",
        ),
        *grid("use|have|open|configure", "{v} slots|{v} parallel slots|{v} parallel requests"),
    ),
    "serve batch-size": (
        *serve_with("batch-size", "the batch|the batch size|the prompt batch|the size of batches"),
        *grid(
            "read|process|take|handle|work through",
            "prompts|the prompt|prompt tokens|long prompts",
            "in batches of {v}|{v} tokens at a time|in steps of {v}|in batches of {v} tokens",
        ),
        *grid("use|have|run with|work with", "batches of {v}|batches of {v} tokens|a {v} token batch|batch size {v}"),
    ),
    "serve log-level": (
        *serve_with("log-level", "the log level|the logging|the level of the log|the logging level"),
        *grid(
            "log|run|start the daemon|work",
            "at {v} level|at level {v}|with {v} logs|at the level {v}|with {v} messages",
        ),
        *grid(
            "make|let|have",
            "the daemon|the server|oprel",
            "log at {v}|log {v} messages|log at level {v}|log at {v} level",
        ),
        *grid("get|see|use|have|choose", "{v} logs|{v} logging|{v} messages|the {v} level|{v} in the log"),
    ),
    "debug": (
        *grid(
            "see|get|have|write|show",
            "more logs|more log messages|more logging|a detailed log|debug logs|debug messages|"
            "more details in the log|verbose logs",
        ),
        *grid(
            "turn on|enable|switch on|activate|use",
            "debug logs|debug logging|debugging|the debug mode|debug output|verbose logging|the debug log",
        ),
        *grid(
            "make|let|have",
            "the daemon|the server|oprel",
            "log more|log everything|write more logs|say more in the log|log in detail",
        ),
        *grid("debug|troubleshoot|find a problem in|find an error in", "the daemon|the server|oprel"),
    ),
    "config file": (
        *grid(
            "use|write|edit|create|change|find|open|have",
            "a config file|a configuration file|a settings file|the config file|the configuration|"
            "my configuration|my own config",
        ),
        *grid(
            "change|edit|set|save|keep|store|adjust|modify",
            "settings|my settings|the settings|the options|my options|the defaults|my preferences|"
            "an option permanently|a default|options for good",
        ),
        *grid("configure|customise|customize|set up|tune", "oprel|the daemon|the server|my oprel"),
        *grid("make", "a setting|my settings|an option|a change", "permanent|stay|last"),
        *grid("give|pass", "the daemon|oprel|the server", "a config file|my config|a configuration|my settings"),
    ),
    "serve home": (
        *grid(
            "set|change|move",
            "the home folder|the data folder|oprel's folder|oprel's home|the home directory",
            "to {v}",
        ),
        *grid(
            "use|take|choose|have",
            "{v}",
            "as the home folder|as the data folder|as home|for oprel's files|as oprel's home",
        ),
        *grid(
            "keep|store|save|put",
            "everything|models and logs|oprel's files|oprel's data|all data|my models",
            "in {v}|under {v}",
        ),
        *grid("make|let|have", "oprel", "use {v}|store its data in {v}|live in {v}|keep its files in {v}"),
    ),
    "serve engine-path": (
        *grid(
            "use|take|choose|select|run|try",
            "{v}|the engine {v}|the llama-server {v}|the binary {v}",
            "|as the engine|as my engine|for running models",
        ),
        *grid("set|change|switch", "the engine|the engine path|the llama-server|the path of the engine", "to {v}"),
        *grid("make|let|have", "oprel|the daemon", "use {v}|run {v}|use the engine {v}|start {v} as its engine"),
        *grid("run", "models|a model|my models", "with {v}|with the engine {v}|with the binary {v}"),
    ),
    "own engine": (
        *grid(
            "use|choose|pick|select|take|try|set|run",
            "another engine|a different engine|my own engine|a custom engine|another llama-server|"
            "my own llama-server|my own llama.cpp|my build of llama.cpp|a llama-server of my own",
        ),
        *grid("change|replace|swap|switch", "the engine|engines|the llama-server|the engine oprel uses"),
        *grid(
            "make|let|have",
            "oprel|the daemon",
            "use my engine|use another engine|run my llama-server|use my llama.cpp|use a different llama-server",
        ),
    ),
    "engines folder": (
        *grid(
            "use|set|choose|take|have",
            "another folder|a different folder|my own folder|a folder",
            "for engines|for the engines|for engine binaries|of engines|for installed engines",
        ),
        *grid(
            "change|set|move|choose",
            "the folder|the directory|the place",
            "of the engines|of engines|where engines are|for engines|of installed engines|of the engine binaries",
        ),
        *grid(
            "keep|install|put|store|have",
            "engines|the engines|engine binaries|my engines",
            "in another folder|elsewhere|in a different folder|in my own folder|in a folder of mine",
        ),
    ),
    "load timeout": (
        *serve_with("load-timeout", "the load timeout|the loading timeout|the time limit for loading|the loading time"),
        *grid(
            "wait|allow|give it",
            "{v}|up to {v}|at most {v}",
            "for loading|for a model to load|until a model is loaded|to load a model|for a slow model to load",
        ),
        *grid("let|have", "a model|loading|a big model|slow models", "take {v}|load for {v}|take up to {v}"),
    ),
    "origins": (
        *grid(
            "allow|permit|accept|let in",
            "a web page|my website|a web app|my web app|browser requests|a web origin|other origins|"
            "requests from a browser|my site|cross origin requests",
        ),
        *grid(
            "let|allow|make",
            "my website|a web page|a browser|my web app|a page",
            "use the API|call oprel|use the daemon|reach the daemon|talk to oprel|to use oprel",
        ),
        *grid(
            "use|call|reach|access",
            "oprel|the API|the daemon",
            "from a browser|from a web page|from my website|from a web app|in a browser|from JavaScript",
        ),
        *grid(
            "fix|solve|avoid|get rid of|repair", "a CORS error|CORS errors|the CORS error|CORS problems|a CORS problem"
        ),
    ),
    "version": (
        *grid(
            "see|check|get|print|show|find out|know|look up|tell|display|find",
            "the version|my version|the version of oprel|the oprel version|which version I have|"
            "which version this is|the version number|which version I use|the installed version|"
            "which release this is|version information",
        ),
    ),
    "help": (
        *grid(
            "see|list|show|get|learn|know|find|print",
            "the commands|all commands|oprel's commands|the help|all oprel commands|"
            "a list of commands|the options|all options of a command|the flags",
        ),
        *grid(
            "get|find|read|see|look at",
            "help|some help|the manual|the documentation|help with oprel|a guide to oprel|the docs|instructions",
        ),
        *grid("get started|begin|start|get going|get help|work|start working", "|with oprel"),
        *grid(
            "learn|understand|find out|know",
            "how to use oprel|how oprel works|how oprel is used|what oprel can do|"
            "what commands there are|which commands exist",
        ),
        *grid("learn|use|understand", "oprel"),
    ),
    "logs": (
        *grid(
            "see|read|find|open|view|check|look at|show|get|inspect|look into",
            "the log|the logs|the log file|the log files|the daemon's log|the daemon's logs|"
            "the server log|oprel's log|oprel's logs|the error log|the log of the daemon",
        ),
        *grid(
            "find out|see|know|understand",
            "why|how",
            "the daemon failed|the daemon crashed|the server crashed|the daemon stopped|"
            "the server failed|a model did not load",
        ),
        *grid(
            "see|find|read",
            "the errors|error messages|what went wrong|what the daemon wrote|what the server logged|messages",
            "|of the daemon|in the log",
        ),
    ),
    "python": (
        *grid(
            "use|call|run|access|control|script",
            "oprel|a model|my models|it",
            "from Python|in Python|with Python|from a Python program|from Python code|"
            "in a Python script|in my Python code|from a Python script|from my code|from my program",
        ),
        *grid(
            "write|make|build|create",
            "a Python program|a Python script|Python code|an app in Python|a program",
            "with oprel|that uses oprel|that asks a model|that uses a model",
        ),
        *grid(
            "use|import|learn|find",
            "the Python API|the Python library|oprel in Python|the Python package|"
            "oprel as a Python library|the Python client",
        ),
    ),
    "no daemon": (
        *grid(
            "use|run|load|call",
            "a model|oprel|{m}|models|it",
            "without the daemon|without a daemon|without the server|without a server|"
            "without any daemon|directly, with no daemon",
        ),
        *grid(
            "avoid|skip|leave out|do without|go without|bypass|not use|not need",
            "the daemon|the server|a daemon|a server|the service",
        ),
        *grid(
            "use|try|have|get",
            "direct mode|the direct mode|a model directly in Python|a model inside my process|"
            "a model in my own process",
        ),
    ),
    "embed": (
        *grid(
            "get|compute|make|create|calculate|produce|generate",
            "embeddings|an embedding|vectors|text embeddings|sentence vectors|embedding vectors",
            "|of a text|for my texts|from sentences|of a sentence|with a model",
        ),
        *grid(
            "embed|vectorise|vectorize|encode", "a text|some text|texts|a sentence|sentences|documents|words|my texts"
        ),
        *grid(
            "turn|convert|make",
            "text|texts|a sentence|sentences|words|documents",
            "into vectors|into embeddings|into a vector|into numbers",
        ),
    ),
    "ollama": (
        *grid(
            "use|connect|attach|point|run",
            "an Ollama client|my Ollama client|an Ollama app|Open WebUI|an Ollama library|"
            "the Ollama client|my Ollama program",
            "with oprel|to oprel|to the daemon|at oprel",
        ),
        *grid(
            "let|make|have",
            "an Ollama client|my Ollama app|Open WebUI|Ollama programs|an Ollama library",
            "use oprel|talk to oprel|connect|connect to oprel|work with oprel",
        ),
        *grid(
            "call|use|reach|find|query",
            "the API|the HTTP API|the REST API|the Ollama API|oprel's API|the API of the daemon",
        ),
        *grid(
            "find|know|get|see",
            "the address|the URL|the port|the default port",
            "of the API|of the server|of the daemon|of oprel",
        ),
    ),
    "leave": (
        *grid(
            "leave|exit|quit|end|close|finish|get out of|stop|terminate|go out of",
            "the chat|a chat|this chat|the conversation|chat mode|the session|oprel chat|"
            "the interactive mode|a conversation",
        ),
        *grid(
            "stop|interrupt|cancel|abort|break off|cut off|end",
            "an answer|the answer|a running answer|the reply|a long answer|the generation|an answer that is too long",
        ),
        *grid("make", "the model|it", "stop talking|stop writing|stop answering|be quiet"),
    ),
    "forget": (
        *grid(
            "clear|reset|forget|erase|delete|wipe|empty|drop|clean",
            "the chat|the conversation|the history|the chat history|this conversation|the messages|"
            "what was said|the chat so far|our conversation",
        ),
        *grid(
            "start|begin",
            "over|again|afresh|anew|from scratch|a new conversation|a new topic",
            "in the chat|inside a chat|in the same chat|without leaving the chat",
        ),
        *grid(
            "make|let|have",
            "the model|it|{m}",
            "forget everything|forget the conversation|forget what I said|forget the chat|forget it all",
        ),
        *grid(
            "start|begin|restart", "the chat|the conversation|our conversation", "over|again|afresh|anew|from the start"
        ),
    ),
    "variables": (
        *grid(
            "use|set|export|find|see|list|know",
            "environment variables|an environment variable|the environment variables|"
            "oprel's environment variables|OPREL_ variables|variables of the environment",
        ),
        *grid(
            "set|pass|give|change|configure",
            "options|settings|an option|a setting|the settings|oprel",
            "with environment variables|in the environment|by an environment variable|"
            "through the environment|as environment variables|with a variable",
        ),
    ),
    "models folder": (
        *grid(
            "find|see|open|locate|look into|get to|know",
            "the models folder|the folder of models|the folder with my models|my models on disk|"
            "the models directory|the place of the models",
        ),
        *grid(
            "see|find out|know|check|learn",
            "where",
            "models are kept|models are stored|models are saved|my models are|oprel keeps models|"
            "oprel stores models|oprel saves my models|the models are on disk|named models are kept",
        ),
    ),
}

ASKS: dict[str, tuple[str, ...]] = {
    "run": (
        *command("run"),
        *grid(
            "what|which command",
            "runs a model|starts a model|asks a model|prompts a model|answers one question|gives me one answer",
            "?",
        ),
        *grid(
            "I have|I downloaded|I got|there is|I saved",
            "a gguf file|{m}|a model",
            "and want to run it|, what now?|, how do I use it?|, how do I start it?|"
            "and want to use it|, how do I run it?",
        ),
        *grid("how is|how can", "a model run|a model asked|a model be run|a prompt be sent|a model used", "?"),
    ),
    "chat": (
        *command("chat"),
        *grid(
            "is there|does oprel have|do you have",
            "a chat|a chat mode|an interactive mode|a chat command|a conversation mode",
            "?",
        ),
        *grid(
            "which command|what",
            "starts a chat|opens a chat|is for chatting|begins a conversation|is for talking|"
            "lets me chat|lets me talk to a model",
            "?",
        ),
        *grid("I want|I would like", "a conversation|a chat|a longer talk|to chat|to talk", "with a model|with {m}"),
    ),
    "list": (
        *command("list"),
        *grid(
            "which|what",
            "models",
            "do I have|are installed|are there|are available|can I use|exist|are here|do you have|"
            "have names|can I run|are on this computer|have I got",
            "?",
        ),
        *grid(
            "do I have|are there|have I got|do you see",
            "models|any models|installed models|models installed|some models",
            "|here|on this machine|on my computer",
            "?",
        ),
        *grid(
            "what",
            "is installed|have I installed|do I have installed|can I run|is available|models are ready to use",
            "|here|on this machine",
            "?",
        ),
    ),
    "ps": (
        *command("ps"),
        *grid(
            "which|what",
            "models|model",
            "are running|are loaded|is running|is loaded|are active|is active|are in memory|is in memory|is in use",
            "|now|right now|currently|at the moment",
            "?",
        ),
        *grid("what is|what's", "running|loaded|in memory|active", "|now|right now|currently|at the moment", "?"),
        *grid(
            "is|does",
            "{m}|a model|my model|any model|the model|some model",
            "running|loaded|in memory|still loaded|still running|active|still in memory|still run",
            "?",
        ),
        *grid(
            "are|is",
            "there|any",
            "running models|loaded models|a model running|a model loaded|models loaded|"
            "models in memory|engines running|engines active",
            "?",
        ),
        *grid(
            "what|which model|who",
            "uses my memory|takes my RAM|fills my memory|uses the memory|needs all this memory|occupies my RAM",
            "?",
        ),
    ),
    "show": (
        *command("show"),
        *grid(
            "what|which",
            "quantization|architecture|context length|size|chat template",
            "does {m} have|has {m}|does this model have|has my model",
            "?",
        ),
        *grid(
            "what is|what's",
            "the quantization|the architecture|the context length|the size|the context window|the parameter count",
            "of {m}|of this model|of my model",
            "?",
        ),
        *grid(
            "can|does|is",
            "{m}",
            "call tools|think|able to think|support tools|support thinking|know tools|see images|"
            "an embedding model|make embeddings|quantized",
            "?",
        ),
        *grid("how", "many parameters does|big is|large is|many layers does|much context does", "{m}", "|have", "?"),
        *grid(
            "what is|what do you know about|what do we know about|what is inside|what is in",
            "{m}|the file {m}|this file: {m}",
            "?",
        ),
    ),
    "stop": (
        *command("stop"),
        *grid(
            "how is|how can|how does one get",
            "a model|{m}|my model",
            "stopped|unloaded|out of memory|be stopped|be unloaded|be ended|freed",
            "?",
        ),
        *grid(
            "my memory is full|I am out of memory|the memory is full|my RAM is used up|"
            "there is no memory left|the GPU is full|I need memory|I need my RAM|"
            "the model takes too much memory|the model eats my RAM",
            ", how do I free it?|, what do I do?|, what now?|, how do I stop the model?|, how do I unload the model?|",
        ),
        *grid(
            "I do not need|I no longer need|I am finished with|I am done with|we are finished with|I don't need",
            "{m}|the model|the model {m}|this model",
            "|now|any more",
        ),
        *grid(
            "which command|what",
            "stops a model|unloads a model|frees memory|ends a model|frees my RAM|releases a model",
            "?",
        ),
    ),
    "stop daemon": (
        *grid("which command|what", "stops|ends|quits|shuts down|kills", DAEMON, "?"),
        *grid("how is|how can", DAEMON, "stopped|ended|be stopped|shut down|be ended", "?"),
        *grid("I do not need|I no longer need|I am done with|I want to be rid of|I don't need", DAEMON, "|any more"),
        *grid("what does|what is|explain", "oprel stop --daemon|`oprel stop --daemon`|stop --daemon", "|do|for", "?"),
        *grid("does|will", DAEMON, "ever stop|run for ever|go on for ever|stop by itself|end by itself", "?"),
        *grid("can", DAEMON, "be stopped|be shut down|be ended|be turned off", "?"),
    ),
    "serve": (
        *command("serve"),
        *grid("which command|what", "starts|runs|launches", DAEMON, "?"),
        *grid(
            "must I|do I have to|do I need to|should I|need I",
            "start|run|launch",
            "the daemon|the server|a server|a daemon",
            "|first|myself|by hand",
            "?",
        ),
        *grid("how is|how does", DAEMON, "started|start|run|launched|brought up", "?"),
        *grid(
            "the daemon|the server|the service|no daemon|no server",
            "is not running|is down|does not run|is not started|is not up|is off",
            "|, what now?|, how do I start it?|, what do I do?",
        ),
        *grid("what is|what's|explain", "the daemon|the server|the oprel daemon|the service", "|for", "?"),
    ),
    "get": (
        *grid(
            "where|how|from where",
            "do I|can I|should I|may I",
            "get|download|find|take|install",
            "models|a model|gguf files|a real model|a better model|more models|a gguf file",
            "|from",
            "?",
        ),
        *grid(
            "which model|what model",
            "should I use|is good|should I download|do you recommend|is the best|can I get|"
            "should I try|is right for me|shall I take",
            "?",
        ),
        *grid(
            "can|does|will",
            "oprel",
            "download models|pull models|get models|fetch a model|download a model for me|install models|find models",
            "|by itself|from the web",
            "?",
        ),
        *grid("oprel|is there an oprel|is there a command", "pull|download|install", "|llama|qwen|mistral|gemma", "?"),
        *grid(
            "I have no|I have not got a|there is no|I want a|I need a|I lack a",
            "model|real model|better model|gguf file|good model|bigger model",
        ),
        *grid(
            "are there|do you know|is there",
            "other models|better models|bigger models|a better model|a smarter model|a bigger model",
            "|than you",
            "?",
        ),
    ),
    "verbose": (
        *grid("how", "fast|quick|slow", "is|does", "{m}|a model|my model|the model", "|answer|run|generate|write", "?"),
        *grid(
            "how many tokens|what number of tokens",
            "per second|a second",
            "does {m} make|does a model make|do I get|are generated|does {m} write|does my model reach",
            "?",
        ),
        *grid("what|which", "speed", "does {m} reach|has my model|do I get|does a model have|has {m}", "?"),
    ),
    "pipe": (
        *grid(
            "does|can|will",
            "oprel|a model|{m}|it",
            "read|take|accept|use",
            "stdin|standard input|a file|text from a pipe|piped text|a pipe|files",
            "?",
        ),
        *grid(
            "how do I|can I|how can I",
            "put|get",
            "a file|a text|my notes|a log",
            "into the prompt|into a prompt|into a model",
            "?",
        ),
    ),
    "serve server-port": (
        *grid(
            "I want|I need|can I have|can I get|give me",
            "port {v}|the daemon on port {v}|the server on port {v}|the API on port {v}|the port {v}",
        ),
        *grid(
            "can|could|may",
            "the daemon|the server|oprel|the API",
            "use port {v}|listen on port {v}|run on port {v}|listen on {v}",
            "?",
        ),
        *grid(
            "port 11435 is|the port is|the default port is",
            "taken|in use|used already",
            ", how do I use {v}?|, I want {v}|, how do I get {v}?",
        ),
    ),
    "serve server-host": (
        *grid(
            "can|could|may|why can't",
            "other machines|other computers|my phone|my laptop|someone else|other people",
            "use the daemon|use the server|reach the daemon|connect|connect to oprel|reach oprel",
            "?",
        ),
        *grid(
            "how do|how can",
            "other machines|other computers|others|my colleagues|clients on my network",
            "use the daemon|reach the server|connect|connect to oprel|use my models",
            "?",
        ),
        *grid(
            "the daemon|the server|oprel",
            "is not reachable|cannot be reached|does not answer",
            "from another machine|from my phone|from other computers|over the network",
        ),
    ),
    "keep for ever": (
        *grid(
            "why",
            "is my model|is {m}|does my model|are models|does {m}",
            "unloaded|disappear|go away|get unloaded|unloaded all the time|gone after five minutes|unloaded so soon",
            "?",
        ),
        *grid(
            "can",
            "a model|models|{m}|my model",
            "stay for ever|stay loaded for ever|be kept for ever|stay in memory always|stay in memory for ever",
            "?",
        ),
        *grid(
            "I want",
            "a model|{m}|my model",
            "loaded for ever|in memory for ever|always loaded|never unloaded|to stay for ever",
        ),
    ),
    "serve keep-alive": (
        *grid(
            "I want|I need|can I have|can we have",
            "a keep alive of {v}|an idle time of {v}|idle models for {v}|models to stay {v}|"
            "a default keep alive of {v}",
        ),
        *grid(
            "can|could",
            "idle models|models|unused models",
            "stay for {v}|be kept for {v}|be unloaded after {v}|wait {v}",
            "?",
        ),
    ),
    "serve ctx-size": (
        *grid(
            "I want|I need|can I have|can I get|give me",
            "{v} tokens of context|a context of {v}|a context of {v} tokens|a {v} token context|a context size of {v}",
        ),
        *grid(
            "can|could", "the context|the context size|the context window", "be {v}|be {v} tokens|have {v} tokens", "?"
        ),
    ),
    "longer context": (
        *grid(
            "my prompt is|the prompt is|my text is|the text is|my document is",
            "too long|longer than the context|too long for the context|too large",
            "|, what now?|, what do I do?|, how do I fix that?",
        ),
        *grid(
            "the context is|the context window is|the context size is",
            "too small|too short|too little|full|used up",
            "|, what now?|, what do I do?",
        ),
        *grid(
            "can",
            "the context|the context window|a prompt|the context size",
            "be longer|be larger|be bigger|be increased|be extended",
            "?",
        ),
    ),
    "serve n-threads": (
        *grid(
            "I want|I need|can I have|can I use|I have",
            "{v} threads|{v} CPU threads|only {v} threads|engines with {v} threads",
        ),
        *grid(
            "can|could",
            "oprel|the engine|a model",
            "use {v} threads|run on {v} threads|use {v} cores|use only {v} threads",
            "?",
        ),
    ),
    "serve n-gpu-layers": (
        *grid("I want|I need|can I have|can I put", "{v} layers on the GPU|{v} GPU layers|{v} layers on my card"),
        *grid("can|could", "{v} layers", "be on the GPU|go to the GPU|be offloaded|run on the GPU", "?"),
    ),
    "cpu only": (
        *grid(
            "can|does|will",
            "oprel|a model|it",
            "run|work",
            "without a GPU|on the CPU only|without the graphics card|on a CPU",
            "?",
        ),
        *grid("I have|I want", "no GPU|no graphics card|only a CPU|no use of the GPU|the CPU only"),
    ),
    "gpu": (
        *grid(
            "does|can|will",
            "oprel|a model|it|the engine",
            "use",
            "the GPU|my GPU|a GPU|my graphics card|CUDA|Metal|Vulkan",
            "?",
        ),
        *grid(
            "why is|is",
            "the GPU|my GPU|the graphics card|CUDA",
            "not used|used|supported|in use|idle|needed|required",
            "?",
        ),
        *grid("do I need|does oprel need|must I have", "a GPU|a graphics card|CUDA|an NVIDIA card", "?"),
    ),
    "serve kv-cache-type": (
        *grid(
            "I want|I need|can I have|can I get", "a {v} KV cache|a {v} cache|the KV cache in {v}|the KV cache as {v}"
        ),
        *grid("can", "the KV cache|the cache", "be {v}|be stored as {v}|be kept in {v}", "?"),
    ),
    "serve flash-attention": (
        *grid(
            "I want|I need|can I have|can I get",
            "flash attention {v}|the flash attention {v}|flash attention to be {v}",
        ),
        *grid("can", "flash attention|the flash attention", "be {v}|be set to {v}|be switched {v}", "?"),
    ),
    "serve parallel": (
        *grid(
            "I want|I need|can I have|we have",
            "{v} parallel requests|{v} requests at once|{v} slots|{v} users at the same time|{v} clients at once",
        ),
        *grid(
            "can|could|may",
            "{v} clients|{v} users|{v} requests|{v} programs",
            "ask at once|be answered in parallel|be served at once|run at the same time|connect at once",
            "?",
        ),
    ),
    "serve batch-size": (
        *grid(
            "I want|I need|can I have|can I get",
            "a batch size of {v}|batches of {v}|batches of {v} tokens|a batch of {v}",
        ),
        *grid("can", "the batch size|the batch", "be {v}|be {v} tokens", "?"),
    ),
    "serve log-level": (
        *grid(
            "I want|I need|can I have|can I get",
            "{v} logs|{v} logging|the log level {v}|a log level of {v}|the log at {v}",
        ),
        *grid("can", "the log level|the log", "be {v}|be at {v}|be set to {v}", "?"),
    ),
    "debug": (
        *grid(
            "I want|I need|can I have|can I get", "debug logs|more logs|more logging|a more detailed log|debug messages"
        ),
        *grid(
            "can|could",
            "the daemon|the server|oprel|the log",
            "log more|say more|be more verbose|be more detailed",
            "?",
        ),
    ),
    "config file": (
        *grid(
            "where",
            "is|are|do I find|do I put|do I change|can I edit",
            "the config file|my settings|the settings|the configuration|oprel's settings|"
            "the configuration file|the options",
            "?",
        ),
        *grid(
            "is there|does oprel have|does oprel read",
            "a config file|a configuration file|a settings file|a yaml file|a file of settings",
            "?",
        ),
        *grid(
            "which|what", "settings|options", "are there|exist|does oprel have|can I set|can be set|can I change", "?"
        ),
        *grid(
            "what is|what goes into|what is in",
            "config.yaml|the config file|the configuration file|~/.config/oprel/config.yaml",
            "?",
        ),
    ),
    "own engine": (
        *grid(
            "which|what",
            "engine|llama-server|llama.cpp",
            "does oprel use|is used|runs my models|do you use|is in use|will oprel use",
            "?",
        ),
        *grid(
            "can I|may I|could I",
            "use|choose|bring|set",
            "another engine|my own engine|my own llama-server|a different engine|my llama.cpp",
            "?",
        ),
    ),
    "engines folder": (
        *grid(
            "where|in which folder",
            "are|does oprel look for|does oprel find|do I put",
            "engines|the engines|the installed engines|the engine binaries",
            "?",
        ),
    ),
    "load timeout": (
        *grid(
            "I want|I need|can I have",
            "a load timeout of {v}|{v} for loading|{v} to load a model|a loading time of {v}",
        ),
        *grid("my model|a big model|{m}", "needs {v} to load|takes {v} to load|loads for {v}"),
    ),
    "origins": (
        *grid(
            "why is|why does|why",
            "my website|my web page|the browser|my web app",
            "refused|refuse the request|blocked|not allowed|get an error|see a CORS error|fail",
            "?",
        ),
        *grid(
            "can|may|could",
            "a web page|my website|a browser|a web app|JavaScript in a page",
            "use oprel|call oprel|use the API|use the daemon|reach oprel",
            "?",
        ),
        *grid(
            "I get|there is|I see|I have",
            "a CORS error|CORS errors|a CORS problem|a CORS message",
            "|, what now?|in my browser|in my web app",
        ),
    ),
    "version": (
        *grid(
            "which|what",
            "version|oprel version|release|version number|version of oprel",
            "is this|do I have|am I using|is installed|is running|is it|have I got|do I use",
            "?",
        ),
        *grid(
            "what is|what's|tell me|show me|print",
            "the version|my version|oprel's version|the version of oprel|the version number|the oprel version",
        ),
        *grid("how", "new|old|recent", "is", "this oprel|my oprel|my version|this version of oprel", "?"),
    ),
    "help": (
        *grid(
            "which|what",
            "commands|things|subcommands",
            "are there|exist|does oprel have|can I use|does oprel know|can oprel do|are available|do you know",
            "?",
        ),
        *grid(
            "help|help me|I need help|please help|give me help|some help",
            "|with oprel|please|with the commands|to start|now",
        ),
        *grid(
            "how",
            "do I start|do I begin|does oprel work|is oprel used|does it work|does this work|"
            "do I use oprel|do I use this|do I get started",
            "|with oprel|here",
            "?",
        ),
        *grid(
            "is there|where is|do you have",
            "a manual|the manual|help|the help|documentation|the documentation|"
            "an overview of the commands|a list of commands",
            "?",
        ),
        *grid(
            "I am new|I am new here|I am a beginner|I am lost|I know nothing|this is my first time",
            "|, what do I do?|, where do I start?|, what now?|with oprel",
        ),
    ),
    "logs": (
        *grid(
            "where",
            "is|are|do I find|can I find|can I see|can I read|does oprel write|does the daemon write|does oprel keep",
            "the log|the logs|the log file|the log files|the daemon's log|its log|its logs|error messages",
            "?",
        ),
        *grid(
            "why did|why has|why does",
            "the daemon|the server|my model",
            "crash|fail|stop|not start|not load|crashed|failed|stopped",
            "?",
        ),
        *grid("is there|do you keep|does oprel write|does the daemon keep", "a log|a log file|logs|an error log", "?"),
        *grid(
            "the daemon|the server|the engine",
            "crashed|failed|does not work|gives an error|died",
            "|, why?|, what happened?|, where do I look?",
        ),
    ),
    "python": (
        *grid(
            "does|can",
            "oprel|it",
            "work|be used|run|have a library|have an API|be called",
            "in Python|from Python|with Python|for Python",
            "?",
        ),
        *grid(
            "is there|do you have|does oprel offer|does oprel have",
            "a Python API|a Python library|a Python package|a Python module|a Python client|a Python interface",
            "?",
        ),
        *grid(
            "show me|give me|I want|write",
            "a Python example|an example in Python|Python code|some Python code|example code in Python",
        ),
        *grid(
            "python|oprel in Python|oprel and Python|the Python API|the Python library|oprel from Python",
            "|please",
            "?",
        ),
    ),
    "no daemon": (
        *grid(
            "do I need|is there a need for|must I use|does oprel need|does Python need|must I run",
            "the daemon|a daemon|the server|a server",
            "|in Python|always|at all",
            "?",
        ),
        *grid(
            "can I|may I|is it possible to",
            "use oprel|run a model|load a model|use a model",
            "without the daemon|without a daemon|without the server|without a server",
            "?",
        ),
        *grid("what is|explain|tell me about", "direct mode|the direct mode|use_server|use_server=False", "?"),
    ),
    "embed": (
        *grid(
            "can|does|will",
            "oprel|a model|it",
            "make|compute|support|give me|produce|create",
            "embeddings|an embedding|vectors|sentence vectors|text embeddings",
            "?",
        ),
        *grid(
            "are|how are|how do",
            "embeddings|vectors|text embeddings",
            "made|possible|supported|computed|work",
            "|in oprel|with oprel",
            "?",
        ),
    ),
    "ollama": (
        *grid(
            "does|can|will",
            "Ollama's client|an Ollama client|my Ollama app|Open WebUI|the Ollama library|Ollama programs",
            "work|work with oprel|use oprel|talk to oprel|connect|connect to oprel",
            "?",
        ),
        *grid(
            "is|does|can",
            "oprel",
            "compatible with Ollama|speak Ollama's API|like Ollama|replace Ollama|work like Ollama|"
            "understand Ollama clients|have Ollama's API|offer an HTTP API",
            "?",
        ),
        *grid(
            "which|what",
            "port|address|URL",
            "does oprel use|does the daemon use|does the daemon listen on|does the server have|"
            "is the daemon on|is the API on|has the server",
            "?",
        ),
        *grid(
            "what is|where is|what's|tell me",
            "the port|the default port|the address|the URL|the API",
            "|of the API|of the daemon|of the server|of oprel",
            "?",
        ),
        *grid("Ollama|Open WebUI|Ollama clients|Ollama apps|an Ollama client", "|with oprel|and oprel|please", "?"),
        *grid("is there|does oprel have", "a REST API|an HTTP API|an API|a web API|a network API", "?"),
    ),
    "leave": (
        *grid(
            "how do I|how can I|how does one",
            "exit|quit|leave|get out|get out of here|end this|stop this|leave this chat|get out of the chat",
            "?",
        ),
        *grid(
            "how is|how can",
            "a chat|the chat|a conversation|an answer",
            "ended|left|stopped|be left|be ended|be stopped",
            "?",
        ),
        *grid("exit|quit|leave|out|let me out", "|please|now", "?"),
    ),
    "forget": (
        *grid(
            "can you|could you|will you|can the model",
            "forget",
            "everything|our conversation|what I said|the chat|it all|this conversation",
            "?",
        ),
        *grid(
            "how is|how can",
            "the chat|the history|the conversation",
            "cleared|emptied|be cleared|be forgotten|be reset|reset",
            "?",
        ),
        *grid("what does|what is|explain", "/clear|`/clear`|the /clear command", "|do|for", "?"),
    ),
    "variables": (
        *grid(
            "which|what",
            "environment variables|variables|OPREL_ variables",
            "are there|exist|does oprel read|does oprel know|can I set|can I use",
            "?",
        ),
        *grid(
            "does oprel|can oprel|will oprel",
            "read|use|know|accept",
            "environment variables|variables of the environment|settings from the environment|an environment variable",
            "?",
        ),
        *grid(
            "is there|are there",
            "an environment variable|environment variables|a variable|variables",
            "for settings|for every setting|for the options|for each option",
            "?",
        ),
    ),
    "models folder": (
        *grid(
            "where|in which folder|where on disk",
            "are|does oprel keep|does oprel store|does oprel save|do I find|does oprel put",
            "my models|the models|models|its models|named models",
            "?",
        ),
        *grid(
            "what is|where is|which is",
            "the models folder|the folder of models|the folder for models|the models directory",
            "?",
        ),
    ),
    "format": (
        *grid(
            "which|what",
            "formats|file formats|kinds of files|types of models|model formats|files|model files",
            "does oprel support|are supported|does oprel run|can oprel run|work|does oprel read|"
            "can I use|work with oprel",
            "?",
        ),
        *grid(
            "does|can|will",
            "oprel",
            "run|support|load|read|open",
            "safetensors|ONNX|PyTorch models|gguf files|safetensors files|GGUF|other formats|GGML",
            "?",
        ),
        *grid(
            "what is|what's|explain|tell me about",
            "GGUF|a gguf file|gguf|the GGUF format|the format GGUF|a .gguf file",
            "?",
        ),
        *grid(
            "must|does|should",
            "a model|my model|the file",
            "be in GGUF|need GGUF|be a gguf file|have the GGUF format|be GGUF|need a special format",
            "?",
        ),
    ),
    "what is oprel": (
        *grid(
            "what is|what's|explain|describe|tell me about|tell me what is|define|please explain",
            "oprel|this program|this tool|this software|this thing called oprel|this oprel",
            "|exactly|please|to me|in short",
            "?",
        ),
        *grid("what", "does|can", "oprel|this program|this tool", "do|do for me|give me", "?"),
        *grid(
            "what is|why is there|what do people use",
            "oprel|this program|this tool",
            "for|good for|made for|used for",
            "?",
        ),
        *grid("why", "should I use|would I use|do people use|use", "oprel|this program|this tool", "?"),
    ),
    "private": (
        *grid(
            "does|can|will",
            "oprel|it|a model|this",
            "work|run|be used",
            "offline|without internet|without the internet|without a network|without an internet connection",
            "?",
        ),
        *grid(
            "is|are",
            "my data|my prompts|my chats|my questions|anything|my texts|my conversations",
            "private|sent anywhere|sent to the cloud|sent over the internet|kept here|safe|uploaded|sent to a company",
            "?",
        ),
        *grid(
            "does|do|will",
            "my data|my prompts|my text|my questions",
            "leave this computer|leave this machine|stay here|stay on this machine|go to the cloud|"
            "stay private|go anywhere",
            "?",
        ),
        *grid(
            "do I need|does oprel need|does it need|is there a need for",
            "internet|the internet|an internet connection|a connection|a network|an account|the cloud",
            "?",
        ),
    ),
}
