"""What people want of oprel, in their words: goals, wrong words, errors, other tools' names. All of it is for training;
the examination of it is everyday.py, whose questions `near` keeps out.

In a pattern, "(a|b)" is a choice. {m} is a model's name or path, {v} one of the values.
"""

# ruff: noqa: E501  (one wording a line)

from intent import Intent

MODEL = "MODEL"  # as oprel's own help writes it
A = "(a model|the model|my model|one of my models|an old model|that model|this model)"
DELETE = "(delete|remove|uninstall|erase|trash|wipe|purge|throw away|get rid of|deinstall|bin|scrap|destroy)"
DAEMON = "(the daemon|the server|oprel|the service|the oprel daemon|the background process)"
PRAY = "(|please|pls|thanks|now|asap)"


def goal(
    name: str, command: str, answer: str, wants: str, asks: str = "", values: str = "", share: float = 1.0
) -> Intent:
    """One wording a line."""
    return Intent(name, command, answer, _lines(wants), _lines(asks), tuple(values.split()), share, True, MODEL)


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines() if line.strip())


GOALS = (
    # ------------------------------------------------------------------------------------------ delete, disk
    goal("rm", "oprel rm {m}", "`oprel rm {m}` deletes it from disk.", f"""
        {DELETE} {{m}} {PRAY}
        {DELETE} the model {{m}}
        {DELETE} {{m}} (from (my|the) (disk|computer|machine|hard drive|laptop)|for good|completely|for ever|again|entirely)
        {DELETE} {A}
        {DELETE} {A} (from (my|the) (disk|computer|machine|hard drive|laptop)|for good|completely|for ever|entirely)
        {DELETE} (a|the) (downloaded|installed|useless|unused|old) model (I no longer need|I do not need|) {PRAY}
        {DELETE} (models|some models|models I do not use|old models|two models)
        (take|get) {{m}} off (my|the) (disk|computer|machine|laptop)
        (undo|reverse) the (download|pull|installation) of {{m}}
        not have {{m}} (on my disk|on this computer|) any more
        make {{m}} (disappear|vanish) from (disk|the list|my computer)
        (run|use|do) the (delete|remove|uninstall) (command|thing) (for|on) {{m}}
        {DELETE} a model file
        """, f"""
        {{m}} is (bad|useless|too big|rubbish|no good), {DELETE} it
        I do not (want|need|like) {{m}} any more, {DELETE} it
        (what is|what's) the (delete|remove|uninstall) command{PRAY}?
        how is a model (deleted|removed|uninstalled|erased)?
        (which|what) command (deletes|removes|uninstalls|erases) (a model|{{m}}|models)?
        {DELETE} {{m}}
        {DELETE} {{m}} {PRAY}
        {DELETE} {A} {PRAY}
        can models be (deleted|removed|uninstalled)?
        what does oprel rm do?
        what is `oprel rm` for?
        oprel rm?
        oprel (delete|remove|uninstall) {{m}}
        (is there|does oprel have) (a|an) (delete|remove|rm|uninstall|erase) command?
        I (downloaded|installed|pulled) {{m}} by (mistake|accident), how do I {DELETE} it?
        (delete|remove) model
        {{m}} has to go, (delete|remove|erase) it
        """, share=2.6),
    goal("disk", "oprel cache", "`oprel cache` shows what fills the disk; `oprel rm MODEL` deletes a model.", """
        (free|free up|save|get|get back|make|regain|win) (disk space|space on (my|the) disk|room on the disk|space|some gigabytes on the drive)
        (see|find out|check|know|show) (what|which models) (fills|fill|uses|use|takes|take|eats|eat|occupies|occupy) (my|the|up my) (disk|hard drive|disk space|storage|SSD|drive)
        (see|check|find out|know) how much (disk space|space|storage|disk) (my models|the models|oprel|models|all this) (use|uses|take|takes|need|needs)
        (clean up|tidy|clean|slim down) (my|the) (disk|drive|hard drive|storage)
        (reduce|shrink|lower) the (disk usage|storage|space) (of oprel|of my models|)
        see the sizes of all (downloads|downloaded files)
        """, """
        (the|my) (hard drive|SSD|drive|storage|partition|hard disk|laptop's disk) is (full|almost full|nearly full|running full|at its limit)
        (my|the) disk (is almost full|is nearly full|fills up|is running out of space|has no room left|is at 99 %)
        (I|we) (have|got) (no|little|hardly any|not enough) (disk space|space|storage|room on the disk) (left|any more|)
        (I am|we are|I'm|am) running (out of|low on) (disk space|space|storage)
        (out of|low on|not enough|no more) (disk space|disk|storage) (|left|what now|what can I do)(|?)
        (Error|error|ERROR|OSError|IOError|fatal): (disk full|not enough disk space|the disk is full|no space left|no space left on the device|write failed, disk full|ENOSPC)
        (pull|download) (failed|stopped|broke off): (no space left|disk full|not enough disk space|out of disk space)
        models (take|eat|use|need) (too much|all my|so much|a lot of) (space|disk|storage|disk space)
        oprel (takes|eats|uses) (too much|all my|gigabytes of|so much) (disk|disk space|space|storage)
        (where|why) (is|has) (all|) my (disk space|storage) gone?
        what (takes|eats|uses) (so much|all the|) (disk space|space|storage)?
        how (big|large) are (my|all my|the) (models|downloads) (together|in total|on disk|)?
        """, share=2.5),
    goal("cache", "oprel cache", "`oprel cache` lists the downloaded files and their sizes.", """
        (see|list|show|view) the (cache|download cache|downloaded files|model files|files of my models)
        (look into|inspect|open) the (cache|download cache)
        (see|list) (downloaded|cached) (files|models) (with|and) their sizes
        """, """
        what does oprel cache do?
        oprel cache?
        what is (in|) the cache?
        (is there|where is) (a|the) (cache|download cache)?
        what is `oprel cache` for?
        """, share=0.7),
    goal("cache verify", "oprel cache verify", "`oprel cache verify` checks the downloaded files.", """
        (check|verify|test|validate) (the|my) (downloads|downloaded files|model files|files|digests|checksums|hashes|cache)
        (find|see|detect) (corrupt|broken|damaged) (files|models|downloads)
        (check|see|find out) (if|whether) (a file|a model|a download|{m}) is (corrupt|broken|damaged|intact|complete)
        """, """
        what does oprel cache verify do?
        is (a|my|the) (download|file|model file) (corrupt|broken|damaged|intact)?
        my (download|file|model file) (may be|is|seems) (corrupt|damaged)
        (Error|error): (digest mismatch|checksum mismatch|wrong sha256|hash does not match)
        """),
    goal("cache prune", "oprel cache prune", "`oprel cache prune` deletes downloaded files that no model uses.", """
        (delete|remove|clean up|clear out|erase|purge) (unused|orphaned|left over|leftover|stale|unneeded) (files|downloads|blobs|data|layers)
        (delete|remove|clean up|erase|clear out) (partial|incomplete|broken|unfinished|interrupted|half|cancelled|aborted) (downloads|files|pulls)
        (delete|remove|erase) (files|downloads) (that|which) (no model uses|nothing uses|no model needs|are not used|were not finished)
        prune (the cache|the downloads|files|unused files)
        """, """
        what does oprel cache prune do?
        (delete|remove) what no model (uses|needs)
        (downloads|pulls) that (failed|were cancelled|stopped) (still take space|are still there), (delete|remove) them
        (the|my) (cancelled|aborted|failed) (download|pull) (left files|is still on disk), (delete|remove|clean) it
        """),
    goal("cache clear", "oprel cache clear", "`oprel cache clear` deletes all models; it asks before it does.", """
        (delete|remove|erase|uninstall|wipe|get rid of) (all|every one of|all of) (my|the) (models|installed models|downloaded models)
        (delete|remove|erase|uninstall|wipe) (every model|all models|all models at once|everything I downloaded|all downloads)
        """, """
        what does oprel cache clear do?
        (delete|remove|erase) (all|every) (models|model)
        """, share=0.4),
    # ------------------------------------------------------------------------------------------ get models
    goal("pull", "oprel pull {m}", "`oprel pull {m}` downloads it.", f"""
        (download|pull|fetch|install|get|obtain|grab|load down|add|save|retrieve) {{m}} {PRAY}
        (download|pull|fetch|install|get|grab|add) the model {{m}}
        (download|pull|fetch|install|get|grab) {{m}} from (Hugging Face|huggingface|the internet|the hub|the registry|ollama.com|the web)
        have {{m}} (on my computer|on this machine|here|on disk|installed)
        (put|bring) {{m}} (on|onto) (my|this) (computer|machine|disk|laptop)
        (set up|make available) {{m}}
        """, f"""
        (download|pull|fetch|install|get|grab) {{m}} {PRAY}
        (I want|I need|give me|I'd like|gimme|i wanna have) {{m}}
        {{m}} is not (installed|here|on this machine|downloaded), how do I get it?
        where do I (get|find|download) {{m}}?
        can I (download|pull|get|install) {{m}}?
        oprel (download|install|get|fetch|add) {{m}}
        what is the command (to|for) (download|pull|downloading|pulling|get|getting) {{m}}?
        is {{m}} (available|supported|there)?
        what does oprel pull do?
        """, share=4),
    goal("update model", "oprel pull {m}", "`oprel pull {m}` again fetches what is new.", """
        (update|upgrade|refresh|renew) (a model|my model|my models|an installed model|a downloaded model|{m}|the model {m})
        (get|fetch|download|have|install|pull) (the|a) (newest|latest|newer|new|current) (version|release) of (a model|my model|{m}|an installed model)
        bring (a model|my models|{m}) up to date
        (check|see|find out) (if|whether) (there is a|a) (newer|new) (version|release) of (a model|my model|{m}) (exists|)
        """, """
        (is|are) (my model|my models|{m}) (up to date|current|the latest|old|outdated)?
        {m} is (outdated|old|stale), (update it|how do I update it|how do I get the new one)?
        how are models (updated|refreshed|kept up to date)?
        is there (a newer|a new|an updated) {m}?
        """, share=1.5),
    goal("search", "oprel search", "`oprel search WORD` finds models on Hugging Face.", """
        (search|look|hunt) for (a model|models|a good model|models on Hugging Face|gguf models|some model|coding models|a model that codes|vision models|tool models|tiny models|german models|a (small|large|tiny|fast|good) model)
        (find|discover|locate|browse) (models|new models|a good model|models on Hugging Face|a coding model|models for coding|models that (call tools|see images|think)|a (small|large|tiny|fast|german|french|chinese) model|other models|interesting models)
        (see|know|find out|list|show) (which|what) models (I can download|can be downloaded|exist on Hugging Face|there are to download|are on the hub|I could get|are on offer)
        (search|browse) (Hugging Face|huggingface|the hub|the web|the model hub)
        """, """
        what does oprel search do?
        oprel search?
        (which|what) models (can|could) I (download|pull|get|install)?
        (which|what) models are (out there|on offer|available for download|on Hugging Face)?
        (are|is) there (any|a|some) (good|small|coding|fast|tiny|german) (models|model) (for|to) (download|code|chat|me)?
        (which|what) (is the best|is a good|model is good|model is best) (model|) for (coding|chat|maths|writing|German|tools|programming)?
        recommend me a (good|small|coding|) model
        """, share=1.8),
    goal("search word", "oprel search {v}", "`oprel search {v}` finds models on Hugging Face.", """
        (search|look) for {v} (models|on Hugging Face|on the hub|)
        (search|browse) (Hugging Face|the hub|huggingface) for {v}
        (find|list|show|see) {v} models (on Hugging Face|on the hub|to download|)
        (find|see) (all|) (versions|variants|sizes|quantizations) of {v} (on Hugging Face|)
        """, """
        (which|what) {v} models (are there|exist|can I get|can I download)?
        are there {v} models?
        """, "qwen3 qwen llama mistral gemma phi deepseek granite smollm coder vision embedding falcon olmo hermes yi "
        "medical german tiny instruct", 1.2),
    goal("list-models", "oprel list-models", "`oprel list-models` shows the short names that can be pulled.", """
        (see|list|show|find out) (the|all|which|) (short names|names oprel knows|names I can pull|known names|short model names)
        (see|list|find out|know) (the|which) names (I can pull|pull knows|pull accepts|work with pull)
        """, """
        what does oprel list-models do?
        (which|what) (short names|names) (does pull know|are there|can I pull|can I use with pull)?
        oprel list-models?
        """, share=0.8),
    goal("hf login", "oprel hf login", "`oprel hf login` stores your Hugging Face token.", """
        (log in|login|sign in|authenticate|log on|log into|connect) (to|at|with|on) (Hugging Face|huggingface|HF|the hub)
        (set|store|enter|save|give|add|use|put|configure|provide) (my|a|the) (Hugging Face|huggingface|HF|hub) (token|key|access token|api token|credentials|password|login)
        (download|pull|get|use|access) (a gated|gated|a private|private|a restricted|restricted) (model|models|repository|repo)
        (give|tell|show) oprel my (Hugging Face|huggingface|HF) (token|credentials)
        """, """
        (Error|error|HTTPError|HTTP error|huggingface error):? (401|403|401 unauthorized|403 forbidden|access to model is restricted|gated repo|this repository is gated|you need a token|invalid token|authentication required)
        (pull|download) (fails|failed|ends) with (401|403|unauthorized|forbidden|gated repo|access denied)
        (access|permission) denied (when|while) (I pull|pulling|downloading) (a model|llama|gemma|from Hugging Face|a gated model)
        (the model|this repo|{m}|the repository) is (gated|private|restricted), (what now|how do I get it|how do I pull it)?
        do I need a (Hugging Face|HF|huggingface) (account|token|key|login)?
        where (does|do I enter|goes|do I store|do I set) (my|the) (Hugging Face|huggingface|HF) (token|key|go)?
        what does oprel hf login do?
        """, share=1.8),
    goal("hf whoami", "oprel hf whoami", "`oprel hf whoami` tells whose token is used.", """
        (see|check|find out|know) (who|as whom) I am logged in (at Hugging Face|to Hugging Face|on the hub|)
        (check|see) (which|whose) (Hugging Face|HF) (token|account) is used
        """, """
        who am I logged in as (at Hugging Face|on Hugging Face|)?
        am I logged in (to|at) (Hugging Face|huggingface|the hub)?
        what does oprel hf whoami do?
        """, share=0.6),
    goal("hf logout", "oprel hf logout", "`oprel hf logout` removes your Hugging Face token.", """
        (log out|sign out|logout|log off) (of|from) (Hugging Face|huggingface|HF|the hub)
        (remove|delete|forget|erase|revoke) (my|the) (Hugging Face|huggingface|HF) (token|login|key|credentials)
        """, """
        what does oprel hf logout do?
        """, share=0.6),
    goal("import", "oprel import {m}", "`oprel import {m} NAME` gives a file a name.", """
        (give|assign) (my|a|the) (gguf|GGUF|.gguf|model) (file|) a (name|short name|nice name|label|proper name)
        (import|register|add|install) (a|my|the|this) (gguf|GGUF|.gguf|local|downloaded) (file|model|model file)
        (import|register|add) {m} (under a name|as a model|to my models|into oprel|)
        (name|call) (my|a|the) (gguf|.gguf|model) file something
        (give|assign) {m} a name
        (use|add) (a file|a gguf|a gguf file|a model) (that|which) I (downloaded|have|copied|made) (by hand|myself|with the browser|with wget|already)
        (import|add) a (folder|directory) (of safetensors|with a model|with safetensors|from Hugging Face)
        """, """
        I (have|downloaded|made|got) (a|this) (gguf|gguf file|.gguf file), how do I (add|import|register|name) it?
        what does oprel import do?
        oprel import?
        how is a (gguf file|file) (imported|named|added|registered)?
        """, share=1.5),
    goal("in place", "oprel list", "They work where they are: `oprel list` shows them.", """
        (use|run|reuse|see|share|find|keep) (my|the|models of|models from|models in) (LM Studio|lmstudio|Ollama|llama.cpp|GPT4All|Jan|Hugging Face cache|ollama) (models|) (with oprel|here|in oprel|)
        (use|run|reuse) (models|the models) (that|which) (LM Studio|Ollama|llama.cpp|another program) (downloaded|has|installed|stores)
        (take over|migrate|move|transfer|bring|keep|copy|import) my (LM Studio|lmstudio|Ollama|ollama|llama.cpp) models (to oprel|over|into oprel|)
        not download (everything|my models|my ollama models) (again|twice)
        """, """
        (does|can|will) oprel (see|find|use|share|run|read) (models of|models from|the models of|my) (LM Studio|lmstudio|Ollama|ollama|llama.cpp|other programs) (models|)?
        I (have|got) models in (LM Studio|lmstudio|Ollama|ollama|llama.cpp), (do they work|can I use them|do I have to download them again|are they found)?
        (do|must) I (have to|need to|) download (my models|everything|all models) again?
        my (lm studio|LM Studio|ollama|Ollama) models
        coming from (ollama|LM Studio|lmstudio), what about my models?
        """, share=1.8),
    goal("push", "oprel push {m}", "`oprel push HOST/NAMESPACE/MODEL` uploads a model to a registry.", """
        (upload|push|publish|share) (a model|my model|my models|{m}) (to a registry|to my registry|to a server|for others|)
        (put|send) (a model|my model|{m}) (to|into|on) (a|my|the) registry
        """, """
        what does oprel push do?
        oprel push?
        can I (upload|publish|share) (a model|my model)?
        """, share=0.8),
    goal("cp", "oprel cp {m} NAME", "`oprel cp {m} NAME` gives it another name.", """
        (copy|duplicate|clone) (a model|{m}|my model|the model)
        (rename|relabel) (a model|{m}|the model|an installed model|one of my models)
        (give|assign) (a model|{m}|my model) (a|another|a second|a new|a different|a shorter) name
        (change|edit|alter) the name of (a model|{m}|my model|the model)
        (make|create) (an alias|a second name|a nickname|a copy|another name) (for|of) (a model|{m}|my model)
        call (a model|{m}) (something else|differently|by another name|by a shorter name)
        """, """
        what does oprel cp do?
        oprel cp?
        oprel (rename|copy|mv|alias) {m}
        can (models|a model) be (renamed|copied)?
        is there a (rename|copy|mv|alias) command?
        """, share=1.6),
    # ------------------------------------------------------------------------------------------ make models
    goal("create", "oprel create", "`oprel create NAME -f Modelfile` makes a model of your own.", """
        (make|create|build|define) (a|my own|my|a custom|an own) (model|custom model|version of a model) (from|with|by|out of) (a|my) (Modelfile|modelfile)
        (make|create|build|define) (my own|a custom|an own|a personal) (model|assistant|chatbot)
        (use|write|apply|run) a Modelfile
        (customise|customize|change|adapt) (a model|{m}) (for good|permanently|with a Modelfile|)
        (save|store|keep|fix) (a system prompt|the system message|parameters|a temperature) (in|with) a model
        (add|use|apply) (a lora|a LoRA|an adapter|a LoRA adapter) (to|with) a model
        (change|replace|set) the (template|prompt template|chat template) of (a model|{m})
        """, """
        what does oprel create do?
        oprel create?
        does oprel (support|read|have|understand) (Modelfiles|a Modelfile|modelfiles)?
        (what is|where is) (a|the) Modelfile?
        """, share=1.4),
    goal("quantize", "--quantize", "`oprel create NAME -f Modelfile --quantize q4_K_M` makes it smaller.", """
        (quantize|quantise) (a model|{m}|my model|the weights)
        (make|get) (a model|{m}|my model) (smaller|into q4|into Q4_K_M|quantized)
        (shrink|compress) (a model|the weights|{m})
        """, """
        can oprel (quantize|quantise) (models|a model)?
        what does --quantize do?
        """, share=0.8),
    goal("system", "--system", '`oprel run {m} --system "..." "your question"` sets the system message.', """
        (set|use|give|change|add|write|define|pass) (a|the|my own|another|my) (system prompt|system message|persona|role|personality|instructions)
        (make|let|have|get) (the model|a model|{m}|it) (act|behave|talk|answer|speak|write|respond|reply) (like|as) (a robot|a teacher|Shakespeare|a doctor|a child|a chef|Yoda|an expert|a lawyer|a wizard|my boss)
        (make|let|have|get) (the model|a model|{m}|it) (always|) (answer|reply|speak|write) (briefly|politely|shortly|in French|in German|in rhymes|rudely|in one sentence|in Spanish|always in English|with jokes)
        (tell|instruct) (the model|a model|{m}) (how to behave|who it is|how to answer|to be brief|to be polite|what to be)
        """, """
        what does --system do?
        (always|) (reply|answer|talk|speak|write|respond) (like|as) (a robot|yoda|a cowboy|a king|a teacher|my grandmother|an engineer)(| always| all the time)
        (always|) (reply|answer|talk|speak|write|respond) (in|only in) (german|french|spanish|english|italian|rhymes|verse|capitals|short sentences)(| always| all the time)
        where (do I put|goes|do I set) (the|my) (system prompt|system message|instructions)?
        the (model|answers) should (be|sound) (friendly|funny|short|formal|like a robot|like a teacher) (always|all the time|)
        the answers are too (long|rude|formal), how do I tell it?
        """, share=1.8),
    # ------------------------------------------------------------------------------------------ ask
    goal("temperature", "--temperature", "`oprel run {m} --temperature 0.2` gives sober answers, 1 wild ones.", """
        (set|change|lower|raise|reduce|increase|use|adjust|pick|turn down|turn up|choose) (the|a|another|a lower|a higher) temperature
        (make|get|have) (the|) (answers|answer|output|model|text|results) (more|less) (creative|random|predictable|wild|boring|deterministic|varied|sober|chaotic|surprising|repeatable)
        (get|have|see) (the same|equal|identical) (answer|answers|text|output) (every time|each time|always|again)
        (control|tune|limit) the (randomness|creativity) (of the answers|)
        """, """
        what does (the|) temperature (do|mean)?
        the (answers|outputs) are too (random|wild|creative|boring|different every time)
        temperature?
        (more|less|too|very) (creative|random|wild|crazy|predictable|varied|boring) (answers|replies|output|text|responses)
        the model is too (creative|random|wild|boring)
        where do I set the temperature?
        how do I set temperature to 0?
        """, share=1.6),
    goal("ask a model", "oprel run {m}", 'Use `oprel run {m} "your question"`; it prints one answer.', """
        (ask|query) {m} (what|why|how|who) (2+2 is|the sky is blue|tall a giraffe is|wrote faust|rain falls|it is)
        (ask|tell|have|let) {m} (for a poem|to write a joke|to tell a story|a riddle|to summarise a text|to translate this)
        """, """
        (ask|query) {m} something
        """, share=0.8),
    goal("at once", "oprel serve --parallel", "Eight requests run at once; `oprel serve --parallel 16` allows more.", """
        (serve|answer|handle) (several|many|more|two) (people|users|clients|requests|programs) (at once|at the same time|together|in parallel)
        """, """
        (can|may|could) (two|several|many|three|more) (people|users|programs|clients|apps) (use it|ask|use oprel|chat|use a model) (at once|at the same time|together|in parallel)?
        how many (requests|users|people) (at once|at the same time|in parallel)?
        """, share=0.7),
    goal("options", "--option", "`oprel run {m} --option NAME=VALUE` sets any option, such as top_p or seed.", """
        (set|change|use|pass|give|choose|adjust) (the|a|another|) (top_p|top_k|seed|min_p|repeat penalty|num_predict|num_ctx|stop word|sampling options|sampling parameters|sampler|generation parameters|model options|model parameters)
        (limit|restrict|cap) (the length of|the number of tokens in|) (an answer|the answer|answers)
        (make|get|have) (shorter|short|longer|long) answers
        """, """
        what does --option do?
        which (options|sampling options|parameters|sampling parameters) (are there|can I set|exist)?
        where do I set (top_p|top_k|the seed|a seed|min_p|num_predict|the repeat penalty)?
        """, share=1.2),
    goal("format json", "--format json", "`oprel run {m} --format json` answers in JSON; a schema file works too.", """
        (get|have|force|want|receive|print|see) (the|an|a|) (answer|answers|output|response|reply|result) (as|in) (valid|) (JSON|json|a JSON object|structured JSON|JSON format)
        (make|force|let|get) (the model|a model|{m}|it) (to|) (answer|reply|respond|write|output|return|produce) (in|as|only|valid|) (JSON|json)
        (use|follow|enforce|give|pass) (a|my) (JSON schema|schema|json schema)
        (get|have) (structured|machine readable) (output|answers|data)
        """, """
        what does --format do?
        can (the model|it|oprel|{m}) (answer|reply|output) (in|as|) (JSON|json|structured data)?
        json (answer|output|mode|reply|response)?
        structured output?
        does oprel (support|have) (JSON mode|json schemas|structured output|JSON output)?
        I need (json|JSON) from the model
        """, share=1.5),
    goal("picture", "oprel run", '`oprel run {m} "What is in ./picture.jpg?"` shows it the picture.', """
        (ask|query) (a model|it|the model|{m}) about (a|an|my|the|this) (picture|photo|image|screenshot|jpg|png|drawing)
        (use|send|give|show|attach|upload|add|pass) (a|an|my|this|the) (picture|photo|image|screenshot|jpg file|png|image file) (to the model|to a model|to {m}|with my question|)
        (describe|analyse|read|caption|explain|recognise) (a|an|my|this|the) (picture|photo|image|screenshot)
        (let|have|make) (a model|the model|{m}) (look at|see|describe|read) (a|an|my|the|this) (picture|image|screenshot|drawing|png)
        ask (something|a question|questions) about (cat.png|./scan.png|image.png|screenshot.png|my.jpeg|a.jpg|holiday.jpeg|dog.jpg|this image)
        """, """
        can (oprel|a model|it|{m}) (see|read|understand|look at|describe) (pictures|images|photos|a picture|an image|screenshots)?
        does oprel (support|have|know) (vision|images|pictures|vision models|multimodal models)?
        what is in (image.png|cat.png|./scan.png|my.jpeg|this picture)?
        how do I use --image?
        (images|pictures|vision)?
        """, share=1.5),
    goal("think", "--think", "`oprel run {m} --think` lets it think first; `--think=false` does not.", """
        (turn on|enable|use|activate|switch on|have) (thinking|reasoning|thinking mode|the reasoning)
        (turn off|disable|stop|avoid|switch off|skip) (thinking|reasoning|the thinking|the thoughts)
        (let|make|have) (the model|a model|{m}|it) (think|reason|think first|think longer)
        (make|let) (the model|it) (stop thinking|not think|think less)
        """, """
        what does --think do?
        (the model|{m}|it) thinks (too long|too much|for ever)
        how do I hide the thoughts?
        can it (think|reason)?
        """, share=1.0),
    goal("resume", "oprel chat --resume", "`oprel chat --resume` continues the last conversation.", """
        (continue|resume|go on with|pick up|restore|reopen|return to|come back to|carry on with|go back to) (the|my|a|our|an old|an earlier) (last|previous|old|earlier|former|) (chat|conversation|session|talk)
        (continue|go on|carry on) (where I|where we) (left off|stopped|ended)
        (get|have|see) (my|the) (last|previous|old|earlier) (chat|conversation|session) (back|again)
        """, """
        what does --resume do?
        (is|are) (my|the) (conversation|chat|chats|conversations) (saved|kept|stored|gone|lost)?
        I closed (the|my) (chat|window|terminal), can I (continue|go on|get it back)?
        (can|how can) I continue (the|my) (chat|conversation) (from before|of yesterday|of last week|from this morning|tomorrow)?
        (yesterday|this morning) we talked, continue
        """, share=1.6),
    goal("slash", "/help", "In a chat, `/help` lists the commands; `/? set` the settings.", """
        (see|list|know|find) (the|all|) (slash commands|commands of the chat|chat commands|commands in the chat)
        (see|know) what I can (type|do|enter) in (the|a) chat
        """, """
        (which|what) (slash commands|chat commands) (are there|exist|can I use)?
        what are the shortcuts in the chat?
        which keys work in the chat?
        """, share=0.6),
    goal("slash set", "/set", "In a chat, type `/set parameter temperature 0.5`, or `/set system` and a text.", """
        (change|set) (a setting|the temperature|a parameter|parameters|the system message|options) (in|inside|during|within) (the|a) chat
        (change|set) (something|a setting|options) while (I chat|chatting)
        """, """
        what does /set do?
        """, share=0.6),
    goal("slash load", "/load", "In a chat, `/load {m}` continues with another model.", """
        (change|switch|swap) (the|) (model|models) (in|inside|during|within) (the|a|this) chat
        (switch|change) to (another model|{m}) (in|inside|during) (the|a|this) chat
        """, """
        what does /load do?
        """, share=0.6),
    goal("slash save", "/save", "In a chat, `/save NAME` keeps model, conversation and settings.", """
        (save|keep|store) (a|the|this|my) (chat|conversation|session) (as a model|under a name|for later|)
        """, """
        what does /save do?
        can I save (a chat|this conversation|my conversation)?
        """, share=0.7),
    goal("multiline", '"""', 'In a chat, start and end with `""\"`, or press Alt-Enter for a new line.', """
        (write|enter|type|paste) (several|many|two|multiple) lines (in a chat|in the chat|)
        (write|enter|type) a (multi-line|multiline|long) (message|prompt) (in the chat|)
        (insert|start) a new line in (a|the) (message|chat|prompt)
        """, "", share=0.6),
    # ------------------------------------------------------------------------------------------ plan, machine
    goal("plan", "oprel plan {m}", "`oprel plan {m}` tells whether it fits and how fast it will be.", """
        (see|check|know|find out|tell|calculate|estimate|predict|learn) (if|whether) (a model|{m}|the model|this model|my model) (fits|will fit|can run|runs|would run|will run|works|is too big|is too large) (here|on this machine|on my computer|into memory|in my RAM|on my GPU|in VRAM|on my laptop|on this computer|)
        (see|check|know|find out|calculate|estimate|tell|predict) how much (memory|RAM|VRAM|GPU memory) (a model|{m}|the model) (needs|will need|uses|would use|will take|wants|requires)
        (see|find out|know|predict|estimate) how (fast|quick|slow) (a model|{m}) (will be|would be|would run|will run) (here|on this machine|)
        (choose|pick|select|find|know|decide) (the best|the right|a good|a fitting|a suitable|which) (quantization|quant|size|model size) (for my machine|for my GPU|for this computer|to take|)
        (see|know|find out) how many layers (fit|go|would go) (on|onto) (the|my) GPU
        plan (a model|{m}|memory)
        (choose|pick|find|get) a model that (fits|suits|runs well on) (my|this) (computer|machine|laptop|GPU|PC|hardware)
        """, """
        (does|will|would|can) {m} (fit|run|work) (here|on this machine|on my laptop|on this computer|on my GPU|in 8 GB|in 16 GB|with 8 GB of RAM|on my PC|in my memory|)?
        (is|would) {m} (too big|too large|too heavy) (for me|for my machine|for this computer|for my GPU|)?
        (can|could) (I|my computer|my laptop|this machine|my PC|my GPU) (run|handle|use|manage|load) {m}?
        how much (memory|RAM|VRAM) (does|will|would) {m} (need|use|take|want|require)?
        how (many gigabytes|many GB|much GB) (does|will|would) {m} (need|use|take)?
        {m} needs how much (memory|ram|vram)?
        (which|what) (model|size of model|models|quantization|model size) (fits|fit|suits|can I run|runs|will run|works best) (here|on my machine|on my GPU|on this computer|on my PC|in 8 GB|with 16 GB|on my hardware)?
        how (big|large) (a model|a model that) can I run?
        how fast (will|would) {m} (be|run) (here|on my machine|on this computer|)?
        (which|what) quantization (should|do) I (take|use|choose|download)?
        what does oprel plan do?
        oprel plan?
        is my (computer|laptop|machine|PC|GPU) (good|strong|fast|big) enough (for {m}|for a model|)?
        (Error|error|RuntimeError|ERROR): (not enough memory|out of memory|model does not fit|model requires more system memory|model requires more memory than is available|failed to allocate|cannot allocate memory|insufficient memory) (for {m}|to load|loading {m}|)
        (CUDA|cuda|ggml_cuda|hip|vulkan|torch.cuda)(| error|.OutOfMemoryError): (out of memory|cannot allocate|failed to allocate|allocation failed|CUDA out of memory)
        the (model|load) does not fit (into memory|into my VRAM|in RAM|)
        the GPU is (out of memory|full)
        """, share=4),
    goal("hardware", "oprel hardware", "`oprel hardware` shows processor, memory and GPUs.", """
        (see|show|check|list|print|know|find out) (my|the|what|which) (hardware|GPU|GPUs|CPU|processor|graphics card|video memory|VRAM|machine) (oprel sees|oprel finds|is found|I have|details|)
        (see|check|find out) (how much|what) (memory|RAM|VRAM) (I have|this machine has|is there|my GPU has)
        (check|see) (if|whether) (my|the) (GPU|graphics card) is (found|detected|seen|recognised)
        """, """
        what does oprel hardware do?
        oprel hardware?
        (what|which) (hardware|GPU|CPU|graphics card) (do I have|is this|is found|does oprel see)?
        how much (VRAM|RAM|memory) do I have?
        does oprel (see|find|detect) my (GPU|graphics card|hardware)?
        """, share=1.2),
    goal("gpu engine", "oprel engines install llama.cpp",
        "`oprel engines install llama.cpp` installs an engine for your GPU; `oprel doctor` checks it.", """
        (use|get|install|have|set up|enable) (CUDA|ROCm|Vulkan|Metal|a GPU engine|an engine for my GPU|the CUDA engine|a CUDA build|GPU support)
        (use|enable|turn on) (the|my|a) (GPU|graphics card|nvidia card|AMD card|GeForce|Radeon|RTX card)
        (make|get|have) (oprel|it|the engine|the model) (use|run on|see|work with) (the|my) (GPU|graphics card|nvidia|nvidia card|AMD card|Radeon|RTX 4090|video card)
        (run|load) (models|a model|{m}) on (the|my) (GPU|graphics card|nvidia card|RTX|Radeon)
        """, """
        (my|the) (GPU|graphics card|AMD card|RTX 3060|RTX 4090|Radeon|GeForce|video card|nvidia gpu) is (not used|ignored|idle|unused|never used|at 0 %|doing nothing|not found|not detected)
        (why|how come) (is|does) (oprel|it|the model|everything) (only|just|) (using|use|on|run on) the CPU?
        (oprel|it|the model|everything) (only|just) (uses|runs on) the CPU
        (why is|is) my (GPU|graphics card|nvidia|AMD card) (not used|ignored|idle|unused)?
        oprel (does not|doesn't|won't) (use|see|find|detect) my (GPU|graphics card|nvidia card|Radeon|RTX 4090)
        nvidia-smi shows (nothing|0 %|no process)
        (the|my) gpu (idles|sits idle|does nothing|is at zero|stays cold|sleeps)(| while it answers| when it runs| all the time)
        does oprel (use|support|work with|need) (the GPU|GPUs|CUDA|Metal|Vulkan|ROCm|NVIDIA|AMD|nvidia cards)?
        the model is (slow|very slow) although I have a GPU
        RTX 4090 found, but this engine uses only the CPU
        """, share=2.2),
    goal("engines", "oprel engines", "`oprel engines` lists the engines and which one is used.", """
        (see|list|show|check|find out) (the|all|which|my|installed) (engines|engines are installed|engine is used|engines there are|inference engines|engines oprel has|backends)
        (see|find out|know) which (engine|backend|llama.cpp|version of llama.cpp) (is used|oprel uses|runs my models)
        """, """
        what does oprel engines do?
        oprel engines?
        (which|what) (engines|engine|backends|backend) (are installed|are there|is used|does oprel use|can I use|exist|does oprel support)?
        does oprel use (llama.cpp|vllm|vLLM|transformers)?
        """, share=1.2),
    goal("engines install", "oprel engines install", "`oprel engines install {v}` installs it after a check.", """
        (install|add|set up|get|download) (the engine|the backend|) {v}
        (use|run models with) {v} (as the engine|as engine|as backend)
        """, """
        can I use {v}?
        how is {v} installed?
        """, "llama.cpp vllm transformers", 1.0),
    goal("engines update", "oprel engines update", "`oprel engines update` says which engines have newer versions.", """
        (update|upgrade|renew|refresh) (the|my|an|llama.cpp|the llama.cpp) (engine|engines|backend|llama-server|engine version)
        (update|upgrade) (llama.cpp|llama-server|vllm)
        (get|have|install) (a newer|the newest|the latest|a new|the current) (engine|llama.cpp|llama-server|version of the engine|version of llama.cpp)
        (see|check|find out) (if|whether) (there is|) a newer (engine|llama.cpp) (exists|)
        """, """
        is (the|my) (engine|llama.cpp|llama-server) (up to date|old|outdated|the newest)?
        (the|my) engine is (old|outdated)
        """, share=1.2),
    goal("engines rollback", "oprel engines rollback", "`oprel engines rollback` goes back to the engine before.", """
        (go back|return|roll back|revert|downgrade) (to|) (the|an|my) (old|previous|last|earlier|former) engine
        (undo|revert|roll back) (the|an) engine (update|upgrade|installation|change)
        """, """
        the new engine (is broken|does not work|is slower|crashes), how do I go back?
        """, share=0.9),
    goal("engines test", "oprel engines test", "`oprel engines test` checks that the engines work.", """
        (test|check|try) (an engine|the engine|the engines|my engine|whether an engine works)
        """, """
        does my engine work?
        what does oprel engines test do?
        """, share=0.6),
    goal("engines use", "oprel engines use", "`oprel engines use NAME` prefers an engine; `auto` undoes it.", """
        (prefer|choose|select|switch to) (an engine|another engine|one engine|vllm|llama.cpp|a different engine)
        (change|set) the (preferred|default) engine
        """, """
        what does oprel engines use do?
        """, share=0.7),
    goal("engines uninstall", "oprel engines uninstall", "`oprel engines uninstall NAME` removes an engine.", """
        (uninstall|remove|delete) (an engine|the engine|an installed engine|vllm|the vllm engine|the llama.cpp engine)
        """, "", share=0.7),
    goal("bench", "oprel bench run {m}", "`oprel bench run {m}` measures how fast it is.", """
        (benchmark|measure|time|test the speed of) (a model|{m}|my models|the models|my machine with a model)
        (compare|measure) the speed of (two|several|my|some) (models|quantizations)
        (run|do|start) a (benchmark|speed test|performance test) (of a model|with {m}|of {m}|)
        """, """
        what does oprel bench do?
        oprel bench?
        (is there|how do I run) a (benchmark|speed test)?
        """, share=1.0),
    goal("bench memory", "oprel bench memory", "`oprel bench memory` measures the memory's bandwidth.", """
        (measure|test|benchmark|see) (the|my) (memory bandwidth|memory speed|RAM speed|bandwidth of the memory|RAM bandwidth)
        """, """
        how fast is my (memory|RAM)?
        what does oprel bench memory do?
        """, share=0.6),
    goal("slow", "oprel plan {m}", "`oprel plan {m}` shows what limits its speed; a smaller quantization is faster.", """
        (make|get) (a model|{m}|the model|it|answers|oprel) (faster|quicker|to answer faster)
        (speed up|accelerate) (a model|{m}|answers|the answers|oprel|generation|the model)
        (get|have) (more tokens per second|faster answers|more speed)
        """, """
        (why is|why are) (it|{m}|the model|oprel|my model|answers) (so slow|slow|this slow)?
        (it|{m}|the model|oprel|my model) is (too slow|very slow|so slow|slow as hell|slower than before|crawling)
        answers (take|are taking) (too long|for ever|minutes|ages)
        only (2|1|3) tokens per second
        """, share=1.3),
    # ------------------------------------------------------------------------------------------ health
    goal("doctor", "oprel doctor", "`oprel doctor` checks engine, hardware, disk and port, and says what to fix.", """
        (check|see|test|verify|find out) (if|whether|that) (everything|oprel|my setup|the installation|my installation|all|the setup|it|it all) (is ok|is okay|is fine|is all right|works|is working|is installed right|is healthy|is in order|is set up right|runs well)
        (diagnose|debug|troubleshoot|solve|fix|repair|analyse|find) (a problem|problems|an issue|oprel|my installation|what is wrong|errors|issues|a fault|my setup)
        (find out|see|know|check|learn) (what is|what's) (wrong|broken|the problem|not working|the matter)
        (check|verify|test|examine) (my|the) (installation|setup|system|configuration of this machine|health|install)
        (run|do|start) a (health check|checkup|diagnosis|diagnostic|system check)
        """, """
        (oprel|it|nothing|this|something) (does not work|doesn't work|is broken|works|is not working|won't work|fails)(| any more| at all| here)
        (something|it|all|everything|oprel|this thing) (is|seems|looks|went) (broken|wrong|weird|off|odd|buggy|faulty|bad)
        what does oprel doctor do?
        oprel doctor?
        (what is|what's) (wrong|the problem|broken|the matter)(| with oprel| here| with my setup)?
        (is|are) (everything|all|oprel|my installation|things|it all) (ok|okay|fine|working|alright|in order|healthy|good|well|set up)(| here)?
        (help|argh|hm), (it is broken|it does not work|nothing works|something is wrong)
        I (get|have|see) (an error|errors|a strange error|problems|a problem|a weird message)
        (is there|do you have) a (health check|checkup|diagnosis|self check)?
        does my (setup|installation|system) work?
        """, share=2.5),
    goal("port in use", "--server-port",
        "Another program has the port: `oprel serve --server-port 11500`, or `oprel doctor` says who.", """
        (fix|solve|avoid|get around) (a port conflict|the port conflict|the address already in use error|a busy port)
        (free|release) the port
        """, """
        (Error|error|ERROR|OSError|fatal|bind):? (address already in use|[Errno 98] address already in use|port is already in use|the port is taken|bind: address already in use|port {v} is already in use|port {v} is taken|port {v} is busy|listen tcp 127.0.0.1:{v}: bind: address already in use|only one usage of each socket address)
        (port {v}|the port|my port|11435) is (taken|busy|in use by another program|already used|occupied|used by something else|blocked)
        (something|another program|ollama|another process) (uses|has|occupies|blocks|listens on) (the|my|that) port(| already)
        address already in use
        """, "11435 11434 8080 8000 3000 9000 5000", share=1.8),
    goal("not reached", "oprel serve", "The daemon is not running: `oprel serve` starts it, `oprel doctor` checks it.", """
        (fix|solve|repair) (a|the) (connection error|connection refused error|connection problem|connection failure)
        """, """
        (Error|error|curl: 7|httpx.ConnectError|ConnectionRefusedError|requests.exceptions.ConnectionError|urllib3.exceptions.NewConnectionError|openai.APIConnectionError|ConnectError):? ([Errno 111] |)(connection refused|failed to connect to 127.0.0.1 port 11435|failed to connect to localhost|could not connect|all connection attempts failed|connection error|could not connect to the daemon|max retries exceeded|failed to establish a new connection|cannot reach the daemon)(|: 127.0.0.1:11435| on localhost|: connection refused)
        (Error|error|TypeError): (fetch failed|ECONNREFUSED 127.0.0.1:11435|connect ECONNREFUSED|dial tcp 127.0.0.1:11435: connect: connection refused|could not connect to ollama app)
        (I|my program|my app|my script|the client|curl) (cannot|can not|can't|could not|does not) (connect|reach the daemon|reach the server|connect to the daemon|connect to oprel|reach the API)
        (connection refused|cannot connect|no connection)
        (the daemon|the server|the API|port 11435|oprel) (does not answer|is not reachable|does not respond|is unreachable|is down|can not be reached)
        """, share=1.8),
    goal("not found", "oprel pull {m}", "`oprel list` shows your models, `oprel pull {m}` downloads it.", """
        (fix|solve) (a|the) (model not found error|error that a model is not found|unknown model error)
        """, """
        (Error|error|ERROR|ollama._types.ResponseError|openai.NotFoundError|404|ResponseError):? (model {m} not found|model "{m}" not found|model '{m}' not found, try pulling it first|model {m} does not exist|the model '{m}' does not exist|no model named {m}|unknown model {m}|{m} not found|pull model manifest: file does not exist|there is no model {m})
        (it says|I get|oprel says) (that|) (model {m} not found|model {m} is unknown|{m} is not found|there is no {m}|model not found)
        (it|oprel) (cannot|can't|does not) find (the model|my model|{m})
        my model is (not found|unknown|missing|gone)
        """, share=1.6),
    goal("memory full", "oprel stop",
        "`oprel ps` shows what is loaded, `oprel stop MODEL` unloads it, `oprel plan MODEL` tells what fits.", """
        (use|need|spend) less (memory|RAM|VRAM)
        (reduce|lower|limit) (the|) (memory use|memory usage|RAM usage|VRAM usage|memory consumption)
        """, """
        (my|the) (computer|laptop|machine|PC|system) (is|gets|becomes) (slow|out of memory|unresponsive|full) (because of|with|from) (the model|oprel|all these models)
        oprel (uses|takes|eats|needs) (too much|all my|so much|all the) (memory|RAM|VRAM)
        (the|a|my) model (uses|takes|eats) (too much|all my|so much|all the) (RAM|VRAM|memory)
        (Error|error): (the models do not fit together|too many models loaded|no memory for another model|memory is full)
        (I|we) have too little (RAM|memory|VRAM)
        (my|the) (RAM|memory|VRAM) is (full|used up|exhausted|all gone)
        """, share=1.5),
    goal("unload", "oprel stop {m}", "`oprel stop {m}` unloads it at once; its files stay.", """
        (free|free up|release|clear|empty|get back) (the|my|some|) (memory|RAM|VRAM|ram|GPU memory) (but keep the model|without losing the model|and keep my models|and keep the files|but delete nothing|without removing models|)
        (unload|stop|kill|end|terminate|shut down|halt|quit|abort) (the|a|my|that|this) (model|running model|loaded model|active model|engine)(| (that is running|in memory|right now|at once|immediately|now))
        (kill|stop|terminate|end|abort) (the|a) model (process|that hangs|that is stuck|which is running|running now)
        (unload|kill|stop|end|terminate) {m}(| now| please| immediately)
        (remove|get|take) (the model|a model|{m}|my model) (from|out of) (memory|RAM|VRAM|the GPU|the memory)
        """, """
        (unload|kill|stop) {m}
        {m} (hangs|is stuck|does not stop|is still running), how do I (kill|stop|end) it?
        (kill|stop|unload) it
        """, share=2.2),
    goal("crash", "oprel crash show", "`oprel crash show` tells why the last engine died.", """
        (see|find out|know|understand|learn|check) why (the|my|an|the last) (engine|model|llama-server|answer) (crashed|died|ended|failed|stopped|aborted|broke off|was killed|went away)
        (see|read|view|show|list|get|find|open) (the|a|my|) (crash report|crash reports|crashes|last crash|crash log|crash details|newest crash)
        (investigate|analyse|debug|understand|look into) (a|the|an|the last) (crash|engine crash)
        """, """
        what does oprel crash do?
        oprel crash?
        why did (the|my) (engine|model|llama-server) (crash|die|stop|fail|abort|end)(| suddenly| just now)?
        (the|my) (engine|model|llama-server) (crashed|died|was killed|keeps crashing|dies all the time|crashes again and again)(|, why?|, what happened?|, what now?)
        (Error|error): (engine crashed|the engine died|the engine ended with signal 11|segmentation fault|engine exited with code 1|llama runner process has terminated|SIGSEGV|SIGILL|the engine was killed|exit status 139)
        (an answer|the answer|my answer) (broke off|was cut|ended in the middle|failed|ended with an engine error)(|, why?|, what happened?)
        (were there|are there) (any|) crashes?
        what happened to the (engine|model)?
        """, share=2),
    goal("quarantine", "oprel quarantine", "`oprel quarantine` lists requests that crashed engines and are held back.", """
        (see|list|show|view|find) (the|) (quarantine|quarantined requests|requests in quarantine|blocked requests|requests that crash engines)
        (see|find out|understand|know) why (a|my|the) (request|prompt) (is|was) (refused|blocked|quarantined|in quarantine|held back)
        """, """
        what does oprel quarantine do?
        oprel quarantine?
        what (is|does) (the quarantine|quarantine|quarantined) (for|mean|)?
        why is (a|my|the) (request|prompt) (refused|blocked|quarantined|in quarantine)?
        (Error|error): (the request is quarantined|this prompt is in quarantine|request refused, it crashed the engine|this request crashed the engine twice)
        (my|the) (prompt|request) is (blocked|quarantined|refused|held back)
        """, share=1.6),
    goal("quarantine clear", "oprel quarantine clear", "`oprel quarantine clear` lets the held requests try again.", """
        (clear|empty|delete|reset) the quarantine
        (release|free|allow|retry|let through) (a|the|my|all) (quarantined|blocked|held) (request|requests|prompt)
        (remove|take|get) (a|my|the) request (out of|from) (the|) quarantine
        """, """
        what does oprel quarantine clear do?
        """, share=0.7),
    goal("show logs", "oprel logs", "`oprel logs` shows the daemon's log; it is `~/.oprel/logs/daemon.log`.", """
        (see|read|show|view|get|print|find|open|look at|check|display|follow|watch|tail) (the|me the|) (logs|log|log file|daemon's log|server log|log output|oprel logs|messages of the daemon|logfile)
        """, """
        what does oprel logs do?
        oprel logs?
        (show|give|print) (me|) (the|) (logs|log|logfile)
        (logs|log|logfile)?
        where (is|are) the (logs|log|logfile)?
        """, share=1.4),
    goal("logs model", "oprel logs {m}", "`oprel logs {m}` shows what its engine printed.", """
        (see|read|show|view|get|print) (the|) (log|logs|output|messages|engine log) of {m}
        (see|read|show) what (the engine|the engine of {m}|{m}) (printed|wrote|logged|says)
        (see|read|show|view) (the|) (engine's|engine) (log|logs|output|messages)
        """, "", share=0.9),
    goal("follow logs", "oprel logs --follow", "`oprel logs --follow` keeps printing new lines.", """
        (follow|tail|watch|stream) the (log|logs|log file|daemon's log)(| live| as it grows| all the time)
        (see|watch) (new|) log (lines|messages) (live|as they come|in real time)
        """, "", share=0.7),
    goal("selftest", "oprel selftest", "`oprel selftest` tests the engine; with `--chaos` it kills it too.", """
        (run|do|start) (a|the) (self test|selftest|test of the engine|chaos test|self-test)
        (test|prove|see) that (oprel|it) (survives crashes|recovers|works after a crash|keeps its promises)
        (test|try) (oprel|the recovery|what happens when the engine dies)
        """, """
        what does oprel selftest do?
        oprel selftest?
        what does --chaos do?
        does oprel survive a crash?
        """, share=1.0),
    # ------------------------------------------------------------------------------------------ daemon, settings
    goal("restart", "oprel restart", "`oprel restart` starts the daemon again, with the settings of now.", f"""
        (restart|reboot|reload|relaunch|reset|bounce) {DAEMON} {PRAY}
        (stop and start|start again|turn off and on|shut down and start|kill and start) {DAEMON}(| again)
        (apply|use|activate|load|make effective) (the|my|) (new|changed|) (settings|configuration|config|config file|setting)
        (make|have) {DAEMON} (read|use|reload|take) (the|my) (new|changed|) (settings|config|configuration|config file)
        """, f"""
        (restart|reboot|relaunch) {DAEMON} {PRAY}
        my (setting|settings|change|changes|config) (has no effect|is ignored|are ignored|does nothing|do not work|is not used|does not take effect)
        I changed (a setting|the config|the config file|the settings|config.yaml)(|, what now?|, how do I apply it?|, nothing happens)
        ctx_size is set here, but the running daemon has 0
        (must|do|should) I restart (the daemon|oprel|the server)?
        what does oprel restart do?
        oprel restart?
        """, share=2.2),
    goal("config show", "oprel config show", "`oprel config show` lists the settings and where each comes from.", """
        (see|show|list|print|view|display|check|look at|get|find out) (the|my|all|all the|all my|current|the current|the effective) (settings|configuration|config|options|values of the settings|effective settings|defaults)
        (see|find out|know|show|learn) where (a|the|each|every|this) (setting|settings|value|option) (comes|come|is set|was set) (from|)
        (see|find out|know) (what|which) (settings|options) (are set|I have|are in force|are used|apply|oprel uses|there are)
        """, """
        what does oprel config (show|) do?
        (what|which) (are|is) (my|the|the current) (settings|setting|configuration)?
        what is (ctx_size|the port|keep_alive|n_threads|a setting) set to (here|now|)?
        (settings|config|configuration)?
        where (do|does) (my settings|this setting|a setting|the settings) come from?
        which settings (exist|are there|can I change)?
        """, share=1.8),
    goal("config path", "oprel config path", "`oprel config path` says where the settings file is.", """
        (find|locate|see|know|find out) (the|my|where the|where my) (config file|settings file|configuration file|config.yaml|configuration)(| is)
        """, """
        where is (the|my) (config file|settings file|config.yaml|configuration file|config|configuration)?
        which (config file|settings file) (is used|does oprel read)?
        what does oprel config path do?
        """, share=1.1),
    goal("config edit", "oprel config edit", "`oprel config edit` opens the settings file; then `oprel restart`.", """
        (edit|change|open|modify|write|alter) (the|my|a) (settings|config|config file|configuration|settings file|setting|config.yaml|preferences)(| permanently| for good| for ever)
        (save|keep|make) (a setting|my settings|an option|settings) (permanent|for good|permanently|for ever)
        """, """
        what does oprel config edit do?
        where do I (change|set|edit) (settings|my settings|options|a setting)?
        """, share=1.4),
    goal("config validate", "oprel config validate", "`oprel config validate` checks the settings file.", """
        (check|validate|test|verify) (the|my) (config|config file|settings|settings file|configuration|config.yaml)(| for errors| for mistakes)
        (find|see) (errors|mistakes|a typo) in (the|my) (config|config file|settings|config.yaml)
        """, """
        is my (config|config file|configuration|config.yaml) (valid|ok|right|correct)?
        (Error|error): (unknown key in config.yaml|config.yaml: unknown key|duplicate key in config.yaml|cannot read config.yaml)
        """, share=0.9),
    goal("service install", "oprel service install", "`oprel service install` starts the daemon with the machine.", """
        (start|launch|run|have) (oprel|the daemon|the server)(| running| start| run) (at boot|on boot|automatically|at startup|on startup|at login|when I log in|after a reboot|with the system|when the machine starts|by itself|when my PC starts)
        (install|register|set up|add|run|create) (oprel|it|the daemon|the server) as a (service|system service|systemd service|systemd unit|background service|launchd service|windows service)
        (use|have|write|create|make) (a|the) (systemd unit|systemd service|service file|launchd plist|autostart|service)
        (keep|have) (oprel|the daemon) (running|always running|on) (all the time|always|after logout|in the background for ever|day and night)
        (autostart|auto-start) (oprel|the daemon)
        """, """
        does oprel (start|run) (at boot|by itself|automatically|after a reboot|with systemd)?
        what does oprel service (install|) do?
        (is there|do you have) (a systemd unit|a service file|an autostart|a launchd file|a windows service|systemd support)?
        after (a reboot|restarting my computer|a restart of the machine) (oprel|the daemon) is (not running|gone|down)
        systemd?
        """, share=2),
    goal("service uninstall", "oprel service uninstall", "`oprel service uninstall` removes the service.", """
        (remove|uninstall|delete|disable) (the|oprel's|the oprel|the systemd) (service|systemd service|systemd unit|autostart|unit)
        (stop|prevent|keep) (oprel|the daemon) from starting (at boot|automatically|at login|with the system)
        not start (oprel|the daemon) (at boot|automatically|at login) (any more|)
        """, "", share=0.8),
    goal("service status", "oprel service status", "`oprel service status` tells whether the service runs.", """
        (see|check|know|find out) (if|whether) (the|oprel's|the systemd) service (runs|is running|is installed|is active|works)
        (see|show|check) the (state|status) of (the|oprel's) service
        """, """
        is the (oprel service|service|systemd service) (running|installed|active)?
        what does oprel service status do?
        """, share=0.8),
    goal("service logs", "oprel service logs", "`oprel service logs` shows what the service wrote.", """
        (see|read|show) (the|oprel's) (logs of the service|service log|service logs|log of the systemd service|journal of the service)
        """, "what does oprel service logs do?", share=0.6),
    goal("docker", "docker build", "`docker build -t oprel .` in a clone makes the image; then `docker run`.", """
        (run|use|start|install|have) (oprel|it|the daemon|the server) (in|inside|with|under|as a) (a container|docker|Docker|podman|kubernetes|a docker container|Docker container)
        (build|make|get|find) (a|the) (docker image|container image|Docker image|container|image)
        (put|deploy) (oprel|it) (in|into|with) (a container|docker|podman|docker compose|kubernetes)
        use docker compose
        """, """
        (is there|do you have|where is) (a|the) (docker image|Dockerfile|container|container image|Docker image)?
        does oprel (run|work) in (docker|a container|podman|kubernetes)?
        (docker|podman|kubernetes|docker compose|container)?
        """, share=1.3),
    goal("drop-in", "oprel serve --drop-in", "`oprel serve --drop-in` takes Ollama's place on port 11434.", """
        (replace|substitute|emulate|imitate) (Ollama|ollama|the Ollama server|my Ollama)(| with oprel| completely| by oprel)
        (take|use|be|act as) (Ollama's|ollama's) (place|port|port 11434)
        (use|run) oprel (instead of|in place of|as a replacement for|as a drop-in for) (Ollama|ollama)(| on its port| on the same port)
        (use|listen on|run on|serve on) (Ollama's port|port 11434|11434|the port of Ollama)
        (switch|change|migrate|move|come) from (Ollama|ollama) (to oprel|)
        (make|have|let) (programs|apps|clients) (for|of|made for) Ollama (work unchanged|find oprel by themselves)
        """, """
        what does --drop-in do?
        is oprel a (drop-in|replacement|substitute) for (Ollama|ollama)?
        does oprel (read|use|follow|know) (OLLAMA_HOST|OLLAMA_ variables|OLLAMA_MODELS|OLLAMA_KEEP_ALIVE)?
        my app (only knows|wants|needs|expects) (Ollama|ollama|port 11434)
        """, share=1.7),
    goal("openai", "http://127.0.0.1:11435/v1", "Use `http://127.0.0.1:11435/v1` as the base URL; any key works.", """
        (use|connect|point|configure|set up|run|make) (the|my|an|a) (OpenAI|openai|OpenAI-compatible|openai compatible) (client|library|SDK|app|program|API|package) (with oprel|to oprel|at oprel|for oprel|)
        (use|call|reach) (the|oprel's|oprel with the) (OpenAI|openai|OpenAI-compatible) (API|endpoint|interface)
        (set|find|know|get) the (base URL|base_url|OPENAI_BASE_URL|endpoint|api base)
        (use|connect) (Continue|Cursor|LangChain|langchain|Cline|Aider|aider|LiteLLM|Zed|VS Code|codex|llama-index) (with oprel|to oprel|)
        """, """
        is oprel (compatible with|like) (OpenAI|openai|the OpenAI API)?
        does oprel (have|support|speak|offer) (an OpenAI API|the OpenAI API|OpenAI's API|chat completions|the responses API|/v1/chat/completions)?
        (what is|what's|which is) the (base URL|base_url|OpenAI endpoint|openai url)?
        (which|what) (API key|api key|key) (do I need|do I use|does oprel want|must I give)?
        openai (client|api|sdk|library)?
        does (LangChain|Cursor|Continue|Aider|Cline) work with oprel?
        """, share=1.7),
    goal("anthropic", "http://127.0.0.1:11435", "Point the Anthropic client at `http://127.0.0.1:11435`; any key works.", """
        (use|connect|point|configure) (the|my|an|a) (Anthropic|anthropic|Claude) (client|library|SDK|app|API) (with oprel|to oprel|at oprel|)
        (use|connect) (Claude Code|claude code) (with oprel|to oprel|)
        (use|call) the (Anthropic|messages) API
        """, """
        does oprel (have|support|speak) (the Anthropic API|Anthropic's API|the messages API|/v1/messages)?
        does Claude Code work with oprel?
        """, share=0.9),
    goal("api chat", "/api/chat", "POST to `http://127.0.0.1:11435/api/chat` with `model` and `messages`.", """
        (send|post|make) a (chat request|request|HTTP request|chat message) (with curl|over HTTP|to the API|to the daemon|)
        (use|call) (the chat endpoint|the daemon with curl|oprel with curl|oprel from JavaScript|oprel over HTTP|/api/chat)
        """, """
        (which|what) (endpoint|route|path|URL) (is for chat|do I use for chat|chats|answers a chat)?
        show me a curl example
        (is there|give me) (a|an) (curl|HTTP) example?
        """, share=0.9),
    goal("metrics", "/metrics", "`http://127.0.0.1:11435/metrics` has figures for Prometheus.", """
        (monitor|observe|watch) (oprel|the daemon) (with Prometheus|with Grafana|in production|)
        (get|see|scrape|collect|read) (the|) (metrics|Prometheus metrics|statistics of the daemon)
        """, """
        does oprel (have|offer|support) (metrics|Prometheus|Grafana|monitoring)?
        (metrics|prometheus|grafana)?
        """, share=0.7),
    goal("ps memory", "oprel ps", "`oprel ps` shows the loaded models and their engines.", """
        (see|check|know|find out) (how much|what) (memory|RAM|VRAM) (a loaded model|the loaded model|the running model|each model|my model) (uses|takes|needs)(| now| right now)
        (see|check|know|get|show) (the|) (status|state)(| of oprel| of things| of the daemon| of my models)
        (see|check|know) (what|if anything|whether anything) (is running|is loaded|runs)(| right now| at the moment| and how much memory it takes| and what it uses)
        """, """
        (what is|what's|whats|show|give me) (the|) (status|state)(| of oprel| right now| of the models|, please)(|?)
        status(|?)
        oprel status
        (which|what) (models|model) (is|are) (loaded|running)(| now) and (how much|what) (memory|RAM|VRAM) (do they|does it) (use|take|need)?
        is it (running|loaded|on)?
        (is oprel|is the daemon) (running|on|up|alive)?
        """, share=1.8),
    goal("modelfile", "oprel show {m} --modelfile", "`oprel show {m} --modelfile` prints its Modelfile.", """
        (see|show|get|print|view|export|read) (the|its|a) Modelfile (of|for|from) (a model|{m}|my model|the model)
        """, """
        (what is|where is) the Modelfile of {m}?
        what does --modelfile do?
        ollama show {m} --modelfile
        (what is|what's) (the oprel|oprel's) (way|command|form) (of|for) ollama show {m} --modelfile?
        """, share=1.3),
    goal("show part", "oprel show {m} --{v}", "`oprel show {m} --{v}` prints only that.", """
        (see|show|get|print|view|read) (only|just|) the {v} of (a model|{m}|my model|the model)
        """, """
        (what is|what's) the {v} of {m}?
        what does --{v} of oprel show do?
        ollama show {m} --{v}
        """, "license template parameters system", 1.0),
    goal("inspect", "oprel inspect {m}", "`oprel inspect {m}` says what the file is and which engines can run it.", """
        (see|find out|check|know) (what is wrong with|which engine can run|which engines can run|what kind of file is) (a model|{m}|this file|a file|my gguf)
        (inspect|check|examine) (a file|{m}|a folder|a repository on Hugging Face|a gguf file) (before I use it|for errors|before downloading|)
        """, """
        what does oprel inspect do?
        oprel inspect?
        (which|what) engine (can|could) run {m}?
        what is wrong with {m}?
        {m} does not load
        """, share=1.0),
    goal("wide", "--wide", "`oprel list --wide` and `oprel ps --wide` show every column; `--columns` chooses.", """
        (see|show|get|have) (all|every|more|the other|the full|whole|wider) (columns|column|names|table|tables)
        (choose|select|pick) (the|) columns (of|in) (a table|oprel list|oprel ps|the list)
        (see|show) (the|) (whole|full|long|complete) (name|names) (of models|in the list|)
        """, """
        the (table|list|name) is (cut|shortened|too narrow|cut off)
        what does --(wide|columns) do?
        """, share=0.8),
    goal("completion", "oprel completion", "Run `source <(oprel completion bash)`; zsh and fish work too.", """
        (get|use|have|enable|install|set up|turn on) (tab completion|completion|shell completion|auto completion|autocomplete|completions|bash completion|zsh completion)
        (complete|finish) (commands|names|model names) with (Tab|the Tab key|tab)
        """, """
        what does oprel completion do?
        does (Tab|tab|the Tab key) (complete|work)?
        """, share=0.8),
    goal("update oprel", "pip install", "In your clone: `git pull`, then `pip install .`, then `oprel restart`.", """
        (update|upgrade) (oprel|oprel itself|this program|the program)
        (get|install|have) (the newest|the latest|a newer|a new|the current) (version of oprel|oprel|release of oprel)
        """, """
        is (oprel|my oprel) (up to date|the newest|outdated|old)?
        """, share=0.9),
    goal("uninstall oprel", "pip uninstall", "`oprel stop --daemon`, then `pip uninstall oprel`; models stay in `~/.oprel`.", """
        (uninstall|remove|delete|get rid of|deinstall) (oprel|oprel itself|oprel from my computer|this program|oprel completely)
        """, "", share=0.9),
    goal("flag", "oprel {v} --help", "`oprel {v} --help` explains its flags.", """
        (see|list|show|know|find out|learn) (the|all|which|all the|) (flags|options|arguments|parameters|switches) (of|for) (oprel {v}|{v}|the {v} command)
        (get|see|read|show) (the|) help (of|for|on|about) (oprel {v}|{v}|the {v} command)
        """, """
        (which|what) (flags|options|arguments|switches) (does|has) (oprel {v}|{v}) (have|take|know|)?
        what does --(home|host|config|json|insecure|copy|limit|quant|all|now|dimensions|truncate|nowordwrap|hidethinking|capability|parallel|follow|ctx|yes) of oprel {v} do?
        (what does|what is) the flag --(home|host|config|json|insecure|copy|limit|quant|all|now|dimensions|truncate|nowordwrap|yes|capability) (do|for) (in|of) oprel {v}?
        oprel {v} --help?
        how does oprel {v} work (exactly|in detail)?
        """, "run chat pull search push import list ps logs show inspect engines stop create cp rm cache crash plan bench "
        "doctor serve service config hardware selftest quarantine", 1.8),
)  # fmt: skip
