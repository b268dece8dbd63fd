"""More wordings of what data.py talks about, for training only, as wordings.py has them for usage."""

from words import grid

_KNOW = (
    "Do you remember|Do you know|Can you tell me|Tell me|Please tell me|Could you repeat|Say|"
    "Repeat|Can you repeat|Remind me of|I forgot|Let me hear|Please say|Do you still know|"
    "Can you remember|Could you tell me|Have you kept|I want to hear|Name|Give me"
)
OWN_TELLS = (
    *grid(
        "|Remember:|Note:|Remember that|Note that|By the way,|I tell you that|"
        "Please remember that|Keep in mind that|You should know that|You must know:|"
        "Do not forget:|Do not forget that|So,|Well,|Listen:|For later:|Please note that|"
        "I want you to know that|Just so you know,|Hear this:|It is so:",
        "my {k} is {v}|my {k} is called {v}|{v} is my {k}|my {k} has the name {v}|"
        "my {k} will be {v}|my {k} shall be {v}",
        "|.|!",
    ),
    *grid(
        "Remember|Note|Write down|Keep|Store|Save|Please keep|Learn|Please note|Memorise",
        "my {k}: {v}|{v} as my {k}|my {k}, {v}|my {k}, it is {v}|that {v} is my {k}",
        "|.",
    ),
    *grid(
        "As my {k} I have|My {k}? It is|About my {k}: it is|My {k}:|For {k}, I have|"
        "I call my {k}|I have as {k}|The {k} that I have is|My own {k} is",
        "{v}",
        "|.",
    ),
)
OWN_ASKS = (
    *grid(
        "What is|What's|what was|Which is|Which was|So what is|And what is|What again is|"
        "Now what is|Well, what is|Tell me, what is|OK, what is",
        "my {k}|my {k} again|my own {k}|my {k} now|my {k} called|the name of my {k}|my {k}, please",
        "?|",
    ),
    *grid(
        _KNOW,
        "my {k}|what my {k} is|what I said about my {k}|which {k} I have|what my {k} was|the {k} that I have",
        "?|.",
    ),
    *grid(
        "What|Which",
        "did I say|did I tell you|have I told you|did I mention|do you know|did I call",
        "my {k}|about my {k}|my {k} was|as my {k}",
        "?",
    ),
    *grid(
        "What {k}|Which {k}",
        "do I have|did I tell you|have I|did I mention|is mine|have I told you|did I say|do I own|did I name",
        "?|",
    ),
    *grid("What|Which", "did I tell you|have I said|did I mention|have I told you", "my {k} is|my {k} was", "?"),
    *grid("And|Now|So|OK, and|Then|", "my {k}", "?|please?|please|was?|was what?|is what?|is?"),
    *grid("How|Who|What", "is", "my {k} called|my {k} named|my {k}", "?"),
)
THE_TELLS = (
    *grid(
        "|Remember:|Note:|Remember that|Note that|By the way,|I tell you that|"
        "Please remember that|Keep in mind that|You should know that|Do not forget:|"
        "Do not forget that|So,|Listen:|For later:|Please note that|Hear this:|I say:",
        "the {k} is {v}|the {k} was {v}|{v} is the {k}|the {k} will be {v}|the {k} shall be {v}|"
        "the {k} for today is {v}",
        "|.|!",
    ),
    *grid(
        "Remember|Note|Write down|Keep|Store|Save|Please keep|Learn|Please note|Memorise",
        "the {k}: {v}|{v} as the {k}|the {k}, {v}|the {k} {v}|that {v} is the {k}",
        "|.",
    ),
    *grid("Let|Make", "the {k} be {v}|{v} be the {k}|the {k} {v}", "|."),
    *grid("As the {k} I take|The {k}? It is|About the {k}: it is|The {k}:|For the {k}, take|Our {k} is", "{v}", "|."),
)
THE_ASKS = (
    *grid(
        "What is|What's|what was|Which is|Which was|So what is|And what is|What again is|"
        "Now what is|Well, what was|Tell me, what is|OK, what is",
        "the {k}|the {k} again|the {k} now|the {k}, please|the {k} that I told you|the {k} from before",
        "?|",
    ),
    *grid(
        _KNOW,
        "the {k}|what the {k} is|what I said about the {k}|which {k} I told you|what the {k} was|"
        "the {k} that I gave you",
        "?|.",
    ),
    *grid(
        "What|Which",
        "did I say|did I tell you|have I told you|did I mention|do you know",
        "about the {k}|the {k} was|the {k} is|as the {k}",
        "?",
    ),
    *grid(
        "What {k}|Which {k}",
        "did I tell you|did I mention|have I told you|did I say|did I give you|did I name|was it",
        "?|",
    ),
    *grid("And|Now|So|OK, and|Then|", "the {k}", "?|please?|please|was?|was what?|is what?|is?"),
)
NAME_TELLS = (
    *grid(
        "|Hello,|Hi,|Hey,|Hey guide,|Good morning,|Good evening,|By the way,|Remember:|"
        "Please remember:|So,|Well,|Let me tell you:",
        "my name is {v}|I am {v}|I'm {v}|I am called {v}|my name's {v}|people call me {v}|"
        "they call me {v}|you can call me {v}|call me {v}|this is {v}|it is me, {v}|"
        "{v} is my name|{v} here|the name is {v}",
        "|.|!",
    ),
)
NAME_ASKS = (
    *grid(
        "What is|What's|what was|And what is|So what is|Do you know|Do you remember|Tell me|"
        "Can you tell me|Say|Repeat|Please say|I forgot|Do you still know|Could you say|"
        "Can you remember",
        "my name|my name again|my own name|what my name is|my name now",
        "?|.",
    ),
    *grid(
        "What name|Which name", "do I have|did I tell you|did I give you|have I|is mine|did I say|did I mention", "?|"
    ),
    *grid(
        "Who am I|What am I called|How am I called|Do you know who I am|Do you remember who I am|"
        "What do people call me|Do you know me|Can you tell me who I am|Say who I am|"
        "What do you call me|Tell me who I am",
        "?||again?|please?",
    ),
)
OTHER_TELLS: tuple[tuple[str, ...], ...] = (
    grid(
        "|Remember:|By the way,|You know,|Note:",
        "I live in {v}|I come from {v}|I am from {v}|my home is in {v}|my house is in {v}|"
        "I moved to {v}|I have a flat in {v}|{v} is my home|I live near {v}|my city is {v}|"
        "I grew up in {v}|{v} is where I live",
        "|.",
    ),
    grid(
        "|Remember:|By the way,|You know,|Note:",
        "I am {v} years old|my age is {v}|I turned {v}|I am {v} years of age|"
        "I have lived for {v} years|I became {v} years old",
        "|.|today",
    ),
    grid(
        "|Remember:|By the way,|You know,|Note:",
        "I have a {v}|I own a {v}|I got a {v}|I bought a {v}|there is a {v} at my home|"
        "I possess a {v}|a {v} is mine|I found a {v}|I was given a {v}|I have a {v} at home",
        "|.",
    ),
    grid(
        "|Remember:|By the way,|You know,|Note:",
        "I like {v}|I love {v}|I adore {v}|I enjoy {v}|I really like {v}|I am fond of {v}|"
        "{v} is what I like|I am a friend of {v}|I do like {v}|what I love is {v}|"
        "I like {v} most",
        "|.",
    ),
    grid(
        "|Remember:|By the way,|You know,|Note:",
        "I work as a {v}|I am a {v}|I'm a {v}|my work is that of a {v}|I earn my money as a {v}|"
        "I was trained as a {v}|I am a {v} by trade|my trade: {v}|I have a job as a {v}|"
        "I am employed as a {v}",
        "|.",
    ),
)
OTHER_ASKS: tuple[tuple[str, ...], ...] = (
    (
        *grid(
            "Where|In which city|In what place|In which town",
            "do I live|is my home|am I at home|is my house|did I say I live",
            "?|now?",
        ),
        *grid(
            "Do you know|Tell me|Do you remember|Can you tell me|Say|Remind me|I forgot",
            "where I live|where I am at home|in which city I live|where my home is|the place I live in",
            "?|.",
        ),
    ),
    (
        *grid("How old|What age", "am I|did I say I am|am I now|have I", "?|again?"),
        *grid(
            "Do you know|Tell me|Do you remember|Can you tell me|Say|Remind me|I forgot",
            "how old I am|my age|what my age is|how many years I have",
            "?|.",
        ),
    ),
    (
        *grid(
            "What",
            "do I have|do I own|did I get|did I buy|have I got|have I|is mine|did I say I have|"
            "did I tell you that I have|do I possess",
            "?|at home?",
        ),
        *grid(
            "Do you know|Tell me|Do you remember|Can you tell me|Say|Remind me|I forgot",
            "what I have|what I own|what I have got|what I bought|what is mine",
            "?|.",
        ),
    ),
    (
        *grid(
            "What",
            "do I like|do I love|do I enjoy|did I say I like|am I fond of|do I like most|"
            "did I tell you that I like|is it that I like",
            "?|so much?",
        ),
        *grid(
            "Do you know|Tell me|Do you remember|Can you tell me|Say|Remind me|I forgot",
            "what I like|what I love|what I enjoy|what I am fond of",
            "?|.",
        ),
    ),
    (
        *grid(
            "What",
            "is my work|do I work as|is my job|do I do for a living|is my trade|is my profession|"
            "did I say I work as|work do I do|do I do",
            "?|for a living?",
        ),
        *grid(
            "Do you know|Tell me|Do you remember|Can you tell me|Say|Remind me|I forgot",
            "my work|what I work as|what my job is|my profession|what I do for a living|my trade",
            "?|.",
        ),
    ),
)

SMALL_TALK: dict[str, tuple[str, ...]] = {
    "greeting": grid(
        "hello|hi|hey|good morning|good evening|good afternoon|good day|hey there|greetings|"
        "welcome|hello there|howdy|morning|hello hello",
        "|dear guide|little model|you|my dear|once more|oprel|computer|world|model|all|buddy|sir|dear|from me",
        "|!|.",
    ),
    "wellbeing": (
        *grid(
            "how are you|how do you do|how is it going|how are you doing|how do you feel|"
            "how have you been|are you well|are you fine|is all well|what's up|how are things|"
            "are you doing well|how goes it|are you in good health|is everything ok|how is your day|"
            "are you happy|do you feel well",
            "|today|now|this morning|my friend|guide|these days|at the moment|with you",
            "?|",
        ),
    ),
    "thanks": (
        *grid(
            "thanks|thank you|many thanks|thank you so much|thanks a lot|thanks so much|I thank you|"
            "big thanks|thx|cheers|my thanks|thank you kindly",
            "|, that helped|, that was helpful|, guide|for the help|for your answer|for everything|"
            ", great|, very good|my friend|indeed|again|, very kind",
            "|!|.",
        ),
        *grid(
            "great|perfect|wonderful|nice|cool|good|fine|awesome|excellent|very good|super",
            "answer|work|job|help|, thanks|, thank you|, well done|, that was it|, that helped|, that is what I needed",
            "|!",
        ),
    ),
    "goodbye": (
        *grid(
            "bye|goodbye|bye bye|see you|see you later|see you soon|farewell|good night|until later|"
            "until tomorrow|so long|take care|talk to you soon|have a nice evening|have a good day|"
            "have a good night|see you next time|till next time",
            "|, guide|my friend|then|for now|for today|and thanks|, I am off|and good luck|everyone",
            "|!|.",
        ),
        *grid(
            "I",
            "am leaving|must go|have to go|am going|need to leave|will go now|go home now|am off|am done for today",
            "|, bye|now|, goodbye|, see you",
        ),
    ),
    "who": (
        *grid(
            "who are you|what are you|who is this|what is your name|what's your name|"
            "who am I talking to|what am I talking to|what are you called|who is talking|"
            "what is this model called|which model are you|what model is this|"
            "what kind of model are you|what sort of program are you|which AI is this|"
            "who is it that answers|who do I talk to|what do they call you|do you have a name|"
            "who answers here",
            "|guide|actually|please|really|then|exactly|now",
            "?|",
        ),
        *grid(
            "are you",
            "a robot|an AI|a human|a person|a machine|a chatbot|a computer|a language model|"
            "an assistant|ChatGPT|GPT|Claude|Gemini|Llama|Mistral|Qwen|Siri|Alexa|a real person|"
            "a program|human|artificial|alive",
            "?||or what?",
        ),
        *grid(
            "tell me|say|explain|please tell me|describe|can you say",
            "who you are|what you are|your name|something about you|about yourself|which model you are|yourself",
            "|.|?",
        ),
    ),
    "skills": (
        *grid(
            "what can you|what are you able to|what do you know how to|which things can you|what could you",
            "do|help me with|answer|tell me|do for me|explain",
            "?|",
        ),
        *grid(
            "what",
            "do you know|are you good at|are you for|may I ask you|can I ask you|can I ask|"
            "are your skills|are your abilities|are your limits|is your purpose|is your job|"
            "do you do|are you made for|questions do you know|questions can I ask|topics do you know|"
            "do you understand|are you capable of|is your task",
            "?||then?",
        ),
        *grid(
            "can you|are you able to|do you",
            "help me|do many things|answer questions|answer everything|know everything|know a lot|"
            "do anything|understand me|know things|help|do something else|answer all my questions",
            "?|",
        ),
        *grid("are you|how", "smart|clever|intelligent|useful|stupid|good|wise|capable", "|are you", "?"),
    ),
    "made": (
        *grid(
            "who",
            "made you|created you|trained you|built you|wrote you|programmed you|developed you|"
            "designed you|invented you|is your maker|is your creator|is your author|is behind you|"
            "taught you|owns you",
            "?||guide?",
        ),
        *grid(
            "how|when|where|why",
            "were you made|were you trained|were you created|did you learn|were you built|"
            "were you taught|did you come to be",
            "?|",
        ),
        *grid(
            "were you|are you",
            "made by|trained by|built by|created by|from",
            "OpenAI|Google|Meta|Microsoft|a company|Anthropic|Mistral|a student|oprel",
            "?",
        ),
        *grid(
            "what|which",
            "data were you trained on|text were you trained on|texts did you learn from|"
            "books did you read|is your origin|company made you|were you trained on|taught you|"
            "did you learn from",
            "?|",
        ),
    ),
    "size": (
        *grid(
            "how",
            "big|large|small|tiny|heavy",
            "are you|is guide|is this model|is your file|is your brain|is this assistant",
            "?|",
        ),
        *grid(
            "how many",
            "parameters|weights|megabytes|layers|bytes|neurons",
            "do you have|has guide|does this model have|are in you|are you made of|does guide have",
            "?|",
        ),
        *grid(
            "are you|is guide|is this model|why are you|why is guide",
            "big|small|large|tiny|little|so small|so tiny|a big model|a small model|a large model|so stupid|so limited",
            "?|",
        ),
        *grid(
            "what is|what's|tell me",
            "your size|the size of guide|your number of parameters|the size of this model|"
            "your file size|your parameter count",
            "?|",
        ),
    ),
}

OUTSIDE_FRAMES = (
    *grid(
        "What|Which thing",
        "is|was|are",
        "{t}|the point of {t}|the idea of {t}|the use of {t}|the origin of {t}|the secret of {t}",
        "?|",
    ),
    *grid(
        "Explain|Describe|Tell me about|Talk about|Teach me|Summarise|Introduce|Define|Discuss|"
        "Write about|Give a talk on",
        "{t}|the history of {t}|the basics of {t}|{t} and {t2}|how {t} began|why {t} matters",
        ".||please|in short",
    ),
    *grid(
        "How|Why|When|Where",
        "does {t} work|do people like {t}|did {t} begin|is {t} used|was {t} found|is {t} made|"
        "are {t} made|does one learn {t}|do I learn {t}|did {t} end",
        "?|",
    ),
    *grid(
        "Write|Compose|Make|Give me|Create|I want|Draft",
        "a poem|a song|a story|a letter|an essay|a joke|a short text|a speech|a rhyme",
        "about {t}|about a {x}|for {n}|on {t}|about {p}|for my {x}",
        ".|",
    ),
    *grid(
        "How do I|How can I|How does one|Can I|Help me|I want to|Is it easy to",
        "cook|bake|buy|sell|repair|paint|clean|draw|build|find|feed|wash|carry|plant|steal|open|"
        "close|hide|throw|eat|stop|start|run|show|list",
        "{x}|a {x}|my {x}|some {x}",
        "?|",
    ),
    *grid(
        "Who|Which person",
        "is|was|knows|likes|married|painted|met|beat",
        "{n}|{n} of {p}|the mayor of {p}|the king of {p}",
        "?|",
    ),
    *grid(
        "Where is|How far is|How big is|How old is|What is special about|Who lives in|"
        "What do people eat in|How many people live in|Which river is in|"
        "What is the best hotel in|When was",
        "{p}",
        "?|",
    ),
    *grid(
        "Is|Are|Was",
        "{t}|a {x}|{p}|my {x}|the {x}",
        "good|bad|beautiful|expensive|healthy|dangerous|old|big|real|famous|easy",
        "?|",
    ),
    *grid(
        "What is|Calculate|Compute|How much is|solve",
        "{a} + {b}|{a} - {b}|{a} * {b}|{a} / {b}|{a} times {b}|{a} plus {b}|{a} minus {b}|"
        "{a} percent of {b}|half of {a}|{a} squared|the root of {a}",
        "?|",
    ),
    *grid(
        "Translate|Say|Write|Spell",
        "'{x}'|'{w}'|{w}|the word {w}|{x}",
        "in French|in German|into Spanish|into Latin|into Polish|in Greek|into Chinese",
    ),
    *grid(
        "My|The|This|Our",
        "{x}",
        "is broken|is lost|smells|is too old|does not work|is gone|is ill|is hungry|makes noise|is wet|fell down",
        "|, why?|, what now?|. What do I do?|, help",
    ),
    *grid(
        "I",
        "am sad|am happy|feel sick|love {t}|hate {t}|miss {n}|want a {x}|lost my {x}|need a {x}|"
        "am in {p}|am late|cannot sleep|have a headache|met {n}",
        "|.|!",
    ),
    *grid(
        "Should I|Must I|May I|Shall I",
        "eat|buy|sell|read|visit|marry|call|learn|keep|try",
        "{t}|a {x}|{n}|{p}|the {x}|{x}",
        "?|",
    ),
    *grid(
        "Recommend|Suggest|Name|Find|Choose",
        "a book|a film|a song|a restaurant|a hotel|a present|a name",
        "about {t}|in {p}|for {n}|for my {x}|like {t}",
        "|.|please",
    ),
    *grid(
        "What|Which",
        "colour|size|sound|price|shape|animal|country|food",
        "has a {x}|is {t}|is best|goes with {x}|does {n} like|is in {p}",
        "?|",
    ),
)
