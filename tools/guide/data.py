"""The training text: conversations made by rules, and how they are written for the model.

`python data.py` prints some. Every maker takes `held`: whether it draws from the words and templates that are kept
out of training.
"""

import json
import random
import re
import string
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import everyday
import talk_wordings as extra
import tools_data
import usage
from rewording import reworded
from tools_data import Case, Tool, number, person, place, thing
from words import ANIMALS, CITIES, COLOURS, FOODS, FOREIGN, OBJECTS, TOPICS, apart, either, expand, invented, pick

READ_WEIGHT = 0.1  # of the loss on what the model only reads; training lowers it


@dataclass(frozen=True)
class Turn:
    """What the user says (or a tool gave back), and what guide thinks and answers."""

    user: str
    answer: str
    thought: str
    call: tuple[str, dict[str, tools_data.Value]] | None = None
    is_result: bool = False
    about_oprel: bool = False
    kept: tuple[str, ...] = ()  # words of the question that are to be copied


@dataclass(frozen=True)
class Conversation:
    turns: list[Turn]
    ability: str
    tools: list[Tool] = field(default_factory=list)
    system: str = ""
    thinking: bool = False
    expected: str = ""  # what the last answer must hold
    is_cut: bool = False  # whether the last answer is written only as far as it is not certain


# -------------------------------------------------------------------------------------------- fixed answers

HELLO = "Hello! I am guide, the tiny model built into oprel. Ask me how to use oprel."
OUTSIDE_BEGINS = "I cannot answer that:"  # the rest follows by itself and is not to outweigh all else
OUTSIDE = (
    f"{OUTSIDE_BEGINS} I am guide, a tiny model built into oprel. "
    "For a real model, put a .gguf file on disk and use `oprel run ./model.gguf`."
)
WHO = "I am guide, a tiny model built into oprel. I know how oprel is used, and little else."
MADE = "I was trained from scratch by oprel's own code, on text that the same code wrote."
NOTED = "I will remember that."
NOT_TOLD = "You have not told me that."

SMALL_TALK: dict[str, tuple[tuple[str, ...], str]] = {
    "greeting": (tuple(
        f"{hello}{tail}{end}"
        for hello in ("hello", "Hello", "hi", "Hi", "hey", "Hey", "good morning", "Good evening", "good afternoon",
                      "greetings", "howdy", "hiya", "Hallo", "yo", "Good day", "hey there", "HELLO", "Hi there")
        for tail in ("", " guide", " there", " my friend", " to you", ", guide", " again", " friend", " everyone")
        for end in ("", "!", ".")
    ), HELLO),
    "wellbeing": (("How are you?", "how are you doing?", "How is it going?", "what's up?", "how are things?",
        "how do you do?",
        "Are you well?", "How do you feel?", "How are you today?", "are you ok?", "how have you been?",
        "Is everything fine?",
        "are you happy?", "how's life?", "hello, how are you?", "hi, how are you?", "Hey! How are you doing today?",
    ), "I am fine, thank you. Ask me how to use oprel."),
    "thanks": (("thanks", "Thank you!", "thank you very much", "thanks a lot", "Thanks, that helped.", "great, thanks",
        "cool, thank you", "many thanks", "ok thanks", "Perfect, thank you.", "That is helpful, thanks!", "thx",
        "cheers",
        "nice, thanks", "Thank you, guide.", "I thank you", "good answer", "well done", "great", "wonderful, thank you",
        "good bot", "that was helpful", "Thanks for your help", "awesome thanks", "very kind of you",
    ), "You are welcome."),
    "goodbye": (("bye", "Goodbye!", "see you", "good night", "see you later", "bye bye", "I have to go",
        "until tomorrow",
        "farewell", "talk to you later", "Good night, guide.", "that is all, bye", "ciao for now", "I am leaving now",
        "have a nice day", "bye for now", "so long", "take care", "ok bye", "see you tomorrow",
    ), "Goodbye!"),
    "who": (("Who are you?", "What are you?", "what is your name?", "What's your name?", "who am I talking to?",
        "Are you an AI?",
        "are you a robot?", "Tell me about yourself.", "what model are you?", "Which model is this?",
        "introduce yourself",
        "Are you ChatGPT?", "are you GPT-4?", "Are you Claude?", "are you Llama?", "are you a human?", "What is guide?",
        "who is guide?", "do you have a name?", "Which AI are you?", "what kind of model are you?",
        "are you a language model?",
        "are you a person?", "who is this?", "Are you a real person?", "Are you a bot?", "what should I call you?",
        "what do I call you?", "Who is speaking?", "Are you Gemini?", "hello, who are you?", "hi, what are you?",
        "Is this ChatGPT?", "Say who you are.", "describe yourself", "What am I talking to?", "are you Qwen?",
        "Which language model is this?", "What is the name of this model?", "how are you called?",
    ), WHO),
    "skills": (("What can you do?", "what do you know?", "how can you help me?", "What are you good at?",
        "what are you for?",
        "What can I ask you?", "can you help me?", "what are your abilities?", "What are your limits?",
        "are you smart?",
        "How smart are you?", "how good are you?", "what is your purpose?", "What do you do?", "are you useful?",
        "What may I ask?", "what questions can you answer?", "Can you do anything?", "are you intelligent?",
        "Do you know much?",
        "what things can you do for me?", "Which questions do you understand?", "what are you able to do?",
        "why are you here?",
        "can you answer everything?", "do you know everything?", "What can guide do?", "What are you capable of?",
    ), WHO),
    "made": (("Who made you?", "who created you?", "who trained you?", "How were you made?", "how were you trained?",
        "Where do you come from?", "what were you trained on?", "Who built you?", "Who is your creator?",
        "who wrote you?",
        "What data were you trained on?", "were you trained on the internet?", "Which company made you?",
        "who developed you?",
        "Did OpenAI make you?", "what is your origin?", "Who programmed you?", "were you made by Google?",
        "How did you learn?", "where were you trained?", "who are your makers?", "when were you made?",
    ), MADE),
    "size": (("How big are you?", "how many parameters do you have?", "how large is this model?", "what is your size?",
        "Are you a large model?", "are you small?", "How many megabytes are you?", "how large are you?", "Are you big?",
        "why are you so small?", "why are you so stupid?", "How much memory do you need?",
        "how many weights do you have?",
        "are you a tiny model?", "Is guide a big model?", "What size is guide?",
    ), "I am tiny: a few million parameters in a file of a few megabytes."),
}  # fmt: skip

# -------------------------------------------------------------------------------- outside of what guide knows

OUTSIDE_FRAMES = (
    "What is {t}?", "what are {t}", "Explain {t}.",
    "Explain {t} to (me|a child|my mother) in (one|two|simple) (sentence|sentences|words).",
    "Tell me about {t}.", "How does {t} work?", "How do {t} work?",
    "Why (is|are) {t} (important|so popular|dangerous|expensive)?",
    "Write a (poem|song|story|letter|joke|essay|haiku|speech|tweet|book) about {t}.",
    "(When|Where|Why) (was|were) {t} (invented|discovered|born|made)?",
    "Who (invented|discovered|made|wrote|painted|won|owns|is behind) {t}?",
    "What is the (best|worst|history|meaning|future|price|colour) of {t}?",
    "Give me (a list of|five facts about|tips on|ideas for|an introduction to|advice on) {t}.",
    "How (many|much|old|far|big|fast) (is|are) {t}?",
    "Do you like {t}?", "{t}", "{t}?", "What do you think (of|about) {t}?", "Is {t} (good|bad|real|healthy|true)?",
    "Compare {t} and {t2}.", "What is the difference between {t} and {t2}?", "Which is better, {t} or {t2}?",
    "Teach me {t}.",
    "Can you (explain|describe|draw|summarise|define) {t}?", "Who is {n}?", "Who was {n} {n2}?", "Where is {p}?",
    "What is the capital of {p}?",
    "How (far|long) is it from {p} to {p2}?", "Is {p} a nice (city|place)?", "What is the weather (like|) in {p}?",
    "What time is it in {p}?",
    "How do I (cook|bake|make|eat|grow) {x}?", "How do I (buy|sell|repair|paint|clean|draw|build|break|find) a {x}?",
    "Where can I buy a {x}?",
    "How do I get to {p}?", "How much is a {x}?", "My {x} is (broken|gone|ill|too small), what do I do?",
    "What does a {x} (eat|cost|look like|weigh)?",
    "Why does my {x} (smell|make noise|not work)?", "Should I (buy|sell|get) a {x}?", "Is a {x} bigger than a {x2}?",
    "How do I (delete|remove|erase|uninstall) (my|an|the) "
    "({w}|account|email|photos|app|file|virus|browser history|{x}|contacts|posts|messages)?",
    "(delete|remove|erase|cancel|deactivate) my (Facebook|Google|Twitter|bank|Netflix|Instagram|PayPal|Amazon|Apple) "
    "(account|profile|page|subscription|password|photos)",
    "how (do I|can I) (delete|close|reset|cancel|recover|deactivate) my "
    "(Instagram|Google|bank|email|Twitter|Spotify|Amazon|Microsoft|{w}) (account|password|profile|card)",
    "(delete|remove) (a {x}|{n}|the {x}|a stain|rust|{p})",
    "how do I (update|restart|reset|install|repair) (my phone|Windows|my router|my TV|an app|a {x}|the printer)?",
    "What is {a} (plus|minus|times|divided by) {b}?", "{a} + {b}", "{a} * {b} =", "Calculate {a} / {b}.",
    "What is {a} percent of {b}?",
    "Solve x + {a} = {b}.", "Is {a} a prime number?", "What is the square root of {a}?",
    "how many days are {a} hours?", "Count to {a}.",
    "What happened in {a}?", "Who won the {t} in {a}?",
    "Write a (Python|Java|C|Rust|Go|bash|SQL|JavaScript) (function|program|script|class|query|loop) "
    "(that sorts a list|for {t}|that counts words|about a {x}|to find {x}s).",
    "def {w}({w2}): return {a}", "print('{w}')", "SELECT * FROM {w} WHERE {w2} = {a};",
    "for i in range({a}): {w}(i)", "#include <{w}.h>", "git {w} --{w2}",
    "Fix this code: {w} = {w2} + {a}", "What does {w} mean?", "{w} {w2} {w3}", "{w}", "{w} {w2}?", "what is a {w}?",
    "how do I {w} a {w2}?",
    "why {w} {w2} {w3} {w4}", "{f} {f2} {f3}", "{f} {f2}", "{f} {f2} {f3} {f4}?", "{z}", "{z} {z2}", "{a}",
    "{a} {b}", "Translate {f} into English.",
    "Translate '{x}' into (French|German|Spanish|Italian|Latin).",
    "How do you say {x} in (French|German|Spanish|Japanese)?", "Spell {w}.",
    "Tell me a (joke|story|secret|riddle|fairy tale).", "Make me laugh.", "Sing (a song|something).",
    "I am (sad|bored|happy|tired|hungry|angry|ill).",
    "What is the meaning of life?", "Will it rain (tomorrow|today)?", "What is the (date|time|day) (today|now|)?",
    "Who is the president (of {p}|)?",
    "Recommend a (book|film|song|restaurant|hotel|game).", "What should I (eat|wear|read|watch|do) (today|tonight)?",
    "Plan (a trip|my holidays) to {p}.",
    "Write an email to {n} about {t}.", "Summarise {t}.", "Is there life on {t}?", "What rhymes with {x}?",
    "Give me a recipe for {x}.",
    "Why is the {x} {c}?", "What colour is a {x}?",
    "Why is the (sky|sea|grass|snow|blood|moon) (blue|green|white|red)?", "Imagine a {c} {x}.",
    "Let us play (a game|chess|{t}).", "Guess my (age|name|number).", "Who would win, a {x} or a {x2}?",
    "Does {n} love {n2}?", "Once upon a time",
    "How do I (lose weight|learn French|get rich|fall asleep|"
    "stop smoking|find a job|tie a tie|run faster|swim|become a pilot)?",
    "What is the (largest|smallest|oldest|highest|longest|fastest) "
    "(country|city|animal|river|mountain|lake|planet) (in the world|on earth|)?",
    # near misses: a command's words about other things
    "How do I list the (planets|kings|countries|{x}s)?", "How do I stop (a {x}|the bleeding|hiccups|snoring|{n})?",
    "How do I run a (marathon|shop|business|farm|bath)?",
    "Show me (a {x}|pictures of {t}|the way to {p}|your {x}).", "How do I start a (fire|car|business|garden|{x})?",
    "How do I (load|unload) (a {x}|the dishwasher|a truck)?",
    "What is running in the (garden|street|kitchen)?", "How do I serve (dinner|wine|{x}|a tennis ball)?",
    "How long does {x} keep in the fridge?",
    "Which {x} is the best model?", "How do I chat with {n}?", "How do I talk to (my boss|girls|a {x}|{n})?",
    "How do I see (the stars|a doctor|a {x})?",
    "Where is the port of {p}?", "How do I install a (washing machine|{x}|lamp)?",
    "What is the version of (Windows|Python|Linux|{w})?",
    "How do I download (music|films|a {x}|Firefox)?", "How many threads has a {x}?",
    "Which layers has (the earth|a {x}|the atmosphere)?",
    "How do I forget {n}?", "How do I leave {p}?", "How do I clear (snow|my throat|a {x})?",
    "How do I set the table?", "Where is my {x}?",
    "How do I keep a {x}?", "What is the size of a {x}?", "How do I free a {x}?", "What shows (the time|the way)?",
    "Where do {x}s live?",
    "How do I use a {x}?", "How do I open a {x}?", "How do I change (a {x}|a tyre|my name)?", "How do I get a {x}?",
    "How do I make {t}?",
)  # fmt: skip


MORE_OUTSIDE = apart(extra.OUTSIDE_FRAMES, [frame for frame in OUTSIDE_FRAMES if "|" in frame or "(" not in frame])
MORE_SMALL_TALK = {kind: apart(extra.SMALL_TALK[kind], asked) for kind, (asked, _) in SMALL_TALK.items()}


def scribble(rng: random.Random) -> str:
    letters = string.ascii_lowercase if rng.random() < 0.7 else string.ascii_letters + string.digits + "!?#$%&*;:"
    return "".join(rng.choices(letters, k=rng.randint(3, 12)))


def topic(rng: random.Random, held: bool) -> str:
    return pick(rng, TOPICS, held) if rng.random() < 0.75 else invented(rng, held)


def outside_question(rng: random.Random, held: bool) -> str:
    fill: dict[str, str | int] = {"t": topic(rng, held), "t2": topic(rng, held), "x": thing(rng, held)}
    fill |= {"x2": thing(rng, held), "n": person(rng, held), "n2": person(rng, held), "p": place(rng, held)}
    fill |= {"p2": place(rng, held), "a": number(rng, held), "b": number(rng, held), "c": pick(rng, COLOURS, held)}
    fill |= {key: invented(rng, held, (1, 3)) for key in ("w", "w2", "w3", "w4")}
    fill |= {key: pick(rng, FOREIGN, held) for key in ("f", "f2", "f3", "f4")} | {
        "z": scribble(rng),
        "z2": scribble(rng),
    }
    return expand_safely(rng, either(rng, OUTSIDE_FRAMES, MORE_OUTSIDE, held), fill)


def expand_safely(rng: random.Random, frame: str, fill: dict[str, str | int]) -> str:
    """Code has parentheses of its own; only those with alternatives are choices."""
    chosen = expand(rng, frame) if "|" in frame else frame
    return chosen.format(**fill)


def outside(rng: random.Random, held: bool) -> Turn:
    question = outside_question(rng, held)
    if rng.random() < 0.05:
        question += " " + outside_question(rng, held)
    return Turn(question, OUTSIDE, "This is not about oprel, so I cannot answer it.")


def about_usage(rng: random.Random, held: bool) -> Turn:
    return _asked(usage.draw(rng, held))


def _asked(asked: usage.Asked) -> Turn:
    thought = f"They ask about oprel: {asked.topic}."
    return Turn(asked.question, asked.answer, thought, about_oprel=True, kept=asked.kept)


SMALL_SHARES = {"greeting": 2, "wellbeing": 1, "thanks": 1, "goodbye": 1, "who": 3, "skills": 2, "made": 1.5, "size": 1}


def small_talk(rng: random.Random, held: bool) -> Turn:
    kind = rng.choices(list(SMALL_SHARES), list(SMALL_SHARES.values()))[0]
    questions, answer = SMALL_TALK[kind]
    thoughts = {"greeting": "They greet me.", "thanks": "They thank me.", "goodbye": "They say goodbye."}
    return Turn(either(rng, questions, MORE_SMALL_TALK[kind], held), answer, thoughts.get(kind, "They ask about me."))


# ------------------------------------------------------------------------------------------------- recall


@dataclass(frozen=True)
class Fact:
    tells: tuple[str, ...]
    asks: tuple[str, ...]
    answer: str
    value: Callable[[random.Random, bool], object]
    noted: str = NOTED
    more_tells: tuple[str, ...] = ()
    more_asks: tuple[str, ...] = ()

    def extended(self, tells: tuple[str, ...], asks: tuple[str, ...]) -> "Fact":
        return replace(self, more_tells=apart(tells, self.tells), more_asks=apart(asks, self.asks))


def _word(words: list[str]) -> Callable[[random.Random, bool], str]:
    return lambda rng, held: pick(rng, words, held) if rng.random() < 0.5 else invented(rng, held)


def _any(rng: random.Random, held: bool) -> object:
    return rng.choice((person, place, thing, number, _word(COLOURS)))(rng, held)


def _job(rng: random.Random, held: bool) -> str:
    return pick(
        rng, "baker teacher doctor pilot farmer nurse painter lawyer cook driver singer writer clerk".split(), held
    )


NAME = Fact(
    ("My name is {v}.", "I am {v}.", "I'm {v}.", "Call me {v}.", "my name is {v}", "Hi, I am {v}!",
    "Hello, my name is {v}.",
     "People call me {v}.", "You can call me {v}.", "This is {v} speaking.", "{v} is my name.", "Hello! I'm {v}.",
     "i am {v}",
     "Please call me {v}.", "They call me {v}.", "Remember that my name is {v}.", "My first name is {v}.", "name's {v}",
     "Hey, {v} here."),
    ("What is my name?", "Who am I?", "Do you remember my name?", "what's my name?", "Do you know my name?",
    "Tell me my name.",
     "What was my name?", "How am I called?", "Can you tell me my name?", "What name did I tell you?", "Say my name.",
     "my name?", "What am I called?", "Do you still know who I am?", "Which name did I give you?",
     "What did I say my name was?"),
    "Your name is {v}.", person, "Nice to meet you, {v}.").extended(extra.NAME_TELLS, extra.NAME_ASKS)  # fmt: skip

OWN = Fact(
    ("My {k} is {v}.", "my {k} is {v}", "Remember: my {k} is {v}.", "Remember that my {k} is {v}.",
    "Note that my {k} is {v}.",
     "{v} is my {k}.", "By the way, my {k} is {v}.", "I tell you: my {k} is {v}.",
     "Please remember that my {k} is {v}.",
     "You should know that my {k} is {v}.", "For my {k}, I have {v}.", "My {k} is called {v}.", "my {k} is called {v}",
     "The name of my {k} is {v}.", "I have a {k} called {v}.", "Keep in mind that my {k} is {v}.",
     "my {k}: {v}",
     "Let me tell you my {k}: {v}."),
    ("What is my {k}?", "what's my {k}?", "Do you remember my {k}?", "Tell me my {k}.", "What was my {k}?",
    "Do you know my {k}?",
     "Can you tell me my {k}?", "Which {k} do I have?", "my {k}?", "What did I say my {k} is?", "And my {k}?",
     "What {k} did I tell you?", "Please repeat my {k}.", "Name my {k}.", "Remind me of my {k}.", "Which is my {k}?",
     "What is my {k} called?",
     "what's my {k} called?", "What is the name of my {k}?", "How is my {k} called?"),
    "Your {k} is {v}.", _any).extended(extra.OWN_TELLS, extra.OWN_ASKS)  # fmt: skip

THE = Fact(
    ("The {k} is {v}.", "Remember: the {k} is {v}.", "the {k} is {v}", "Remember the {k} {v}.", "The {k} was {v}.",
     "I say it once: the {k} is {v}.", "Let the {k} be {v}.", "Please remember that the {k} is {v}.",
     "Note the {k}: {v}.",
     "Keep the {k} {v} in mind."),
    ("What is the {k}?", "What was the {k}?", "Do you remember the {k}?", "Tell me the {k}.", "what's the {k}?",
    "the {k}?",
     "Which {k} did I tell you?", "Repeat the {k}.", "Do you know the {k}?", "Which was the {k}?", "And the {k}?"),
    "The {k} is {v}.", _any).extended(extra.THE_TELLS, extra.THE_ASKS)  # fmt: skip

OTHERS = (
    Fact(("I live in {v}.", "I am from {v}.", "My home is {v}.", "i live in {v}", "I moved to {v}.", "We live in {v}."),
         ("Where do I live?", "Which city do I live in?", "Do you remember where I live?", "Tell me where I live.",
          "where am I at home?", "In which city do I live?", "Where is my home?"), "You live in {v}.", place),
    Fact(("I am {v} years old.", "I'm {v} years old.", "My age is {v}.", "i am {v} years old", "I turned {v} today."),
         ("How old am I?", "What is my age?", "Do you remember how old I am?", "Tell me my age.", "how old was I?"),
         "You are {v} years old.", number),
    Fact(("I have a {v}.", "I own a {v}.", "At home I have a {v}.", "i have a {v}", "I bought a {v}.", "I got a {v}."),
         ("What do I have?", "What did I tell you I have?", "Do you remember what I have?", "What do I own?",
         "what have I got?"),
         "You have a {v}.", thing),
    Fact(("I like {v}.", "I love {v}.", "i like {v}", "I really like {v}.", "What I like is {v}.", "I am fond of {v}."),
         ("What do I like?", "Do you remember what I like?", "Tell me what I like.", "what did I say I like?",
         "What do I love?"),
         "You like {v}.", lambda rng, held: rng.choice((_word(FOODS), _word(TOPICS), thing))(rng, held)),
    Fact(("I work as a {v}.", "I am a {v}.", "I'm a {v} by trade.", "i work as a {v}", "My work: I am a {v}."),
         ("What do I work as?", "What is my work?", "Do you remember my work?", "what do I do for a living?"),
         "You work as a {v}.", _job),
)  # fmt: skip
OTHERS = tuple(map(Fact.extended, OTHERS, extra.OTHER_TELLS, extra.OTHER_ASKS))

OWN_KEYS = """favourite_colour favourite_colour favorite_color favourite_food favorite_food favourite_animal
favourite_number lucky_number favourite_city dog cat dog's_name cat's_name sister brother mother father friend
best_friend boss teacher password code phone_number age room_number street car bike job hobby surname last_name
birthday hometown team book film song country language drink pet hamster's_name daughter son wife husband
neighbour company username seat address""".split()
OWN_KEYS = [key.replace("_", " ") for key in OWN_KEYS]
THE_KEYS = """code number word secret password colour city key answer name code_word secret_word magic_number
winner address room price date animal tool team capital plan result signal target""".split()
THE_KEYS = [key.replace("_", " ") for key in THE_KEYS]


@dataclass(frozen=True)
class Told:
    """A fact with its words chosen."""

    tell: str
    noted: str
    ask: str
    answer: str
    value: str
    key: str


def tell(rng: random.Random, held: bool) -> Told:
    fact = rng.choices((NAME, OWN, THE, rng.choice(OTHERS)), (5, 6, 3, 2))[0]
    keys = {OWN: OWN_KEYS, THE: THE_KEYS}.get(fact)
    key = "" if keys is None else pick(rng, keys, held) if rng.random() < 0.8 else "favourite " + invented(rng, held)
    if key and not held and rng.random() < 0.15:
        key = invented(rng, held)
    value = str(_value(key, fact)(rng, held))
    fill = {"k": key, "v": value}
    pairs = ((fact.tells, fact.more_tells), (fact.asks, fact.more_asks))
    said, asked = (either(rng, *pair, held).format(**fill) for pair in pairs)
    return Told(said, fact.noted.format(**fill), asked, fact.answer.format(**fill), value, key or fact.answer)


def _value(key: str, fact: Fact) -> Callable[[random.Random, bool], object]:
    """What fits a key; anything else may be anything."""
    kinds = {"colour": _word(COLOURS), "color": _word(COLOURS), "food": _word(FOODS), "animal": _word(ANIMALS),
             "number": number, "age": number, "code": number, "city": _word(CITIES), "name": person,
             "car": _word(OBJECTS),
             "sister": person, "brother": person, "friend": person, "boss": person, "teacher": person}  # fmt: skip
    return kinds.get(key.split(" ")[-1], fact.value) if key else fact.value


def recall(rng: random.Random, held: bool) -> list[Turn]:
    """One to three facts told, something else in between perhaps, then one of them asked."""
    facts: dict[str, Told] = {}
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3))):
        told = tell(rng, held)
        facts.setdefault(told.key, told)
    turns = _telling(rng, list(facts.values()))
    if rng.random() < 0.3:
        turns.append(rng.choice((about_usage, small_talk, outside))(rng, held))
    for told in rng.sample(list(facts.values()), rng.randint(1, len(facts))):
        turns.append(Turn(told.ask, told.answer, f"They told me: {told.value}."))
    return turns


def _telling(rng: random.Random, facts: list[Told]) -> list[Turn]:
    thought = "They tell me something."
    if len(facts) > 1 and rng.random() < 0.4:
        said = rng.choice((" ", " and ", " ")).join(told.tell for told in facts)
        return [Turn(said, facts[0].noted, thought)]
    if len(facts) == 1 and rng.random() < 0.15:  # told and asked at once
        return [Turn(f"{facts[0].tell} {facts[0].ask}", facts[0].answer, f"They told me: {facts[0].value}.")]
    return [Turn(told.tell, told.noted, thought) for told in facts]


def not_told(rng: random.Random, held: bool) -> Turn:
    return Turn(tell(rng, held).ask, NOT_TOLD, "They have not told me.")


# -------------------------------------------------------------------------------------------------- tools


def call(case: Case) -> Turn:
    return Turn(case.question, "", f"The tool {case.tool.name} fits.", (case.tool.name, case.arguments))


def after(case: Case) -> Turn:
    return Turn(case.result, case.told, "The tool has answered.", is_result=True)


def with_tools(rng: random.Random, held: bool) -> Conversation:
    """A question that fits an offered tool, perhaps with the tool's result."""
    case = tools_data.draw(rng, held)
    tools = tools_data.offered(rng, held, case)
    turns = [call(case)]
    if rng.random() < 0.4:
        turns.append(after(case))
    if rng.random() < 0.12:
        turns.insert(0, rng.choice((about_usage, small_talk, outside))(rng, held))
    return Conversation(turns, "tool result" if turns[-1].is_result else "tool call", tools)


def without_need(rng: random.Random, held: bool) -> Conversation:
    """Tools offered, and a question for none of them."""
    tools, other = tools_data.unfitting(rng, held)
    foreign = Turn(other.question, OUTSIDE, "No tool fits, so I cannot answer it.")
    turn = rng.choices((foreign, outside(rng, held), about_usage(rng, held), small_talk(rng, held)), (5, 3, 2, 1))[0]
    turns = recall(rng, held) if rng.random() < 0.05 else [turn]
    return Conversation(turns, "no tool", tools)


# ---------------------------------------------------------------------------------------------------- mix

SYSTEMS = (
    "You are a helpful assistant.", "You are guide.", "Be brief.", "Answer in one sentence.",
    "You are a friendly assistant.",
    "Help the user.", "You are an expert.", "Answer politely.", "You are an AI assistant.", "Use simple words.",
    "You are a helpful assistant. Answer the user's questions.", "Be concise and honest.",
)  # fmt: skip


OPENERS = ("hey, ", "hi! ", "Hello, ", "ok, ", "so ", "please ", "um, ", "Excuse me, ", "guide, ")


def roughen(rng: random.Random, text: str) -> str:
    """What hurried people type: no capitals, no full stop, a slip, a "please"."""
    chance = rng.random()
    if chance < 0.12:
        text = text.rstrip(".?!")
    elif chance < 0.18:
        text += rng.choice((" thanks", " please", "?", "!", "??", " :)"))
    elif chance < 0.24:
        text = rng.choice(OPENERS) + text
    return text


def slip(rng: random.Random, text: str) -> str:
    """One letter lost, doubled, mistaken or swapped with its neighbour."""
    at = rng.randrange(len(text) - 1)
    kind = rng.randrange(5)
    if kind == 0:
        return text[:at] + text[at + 1 :]
    if kind == 1:
        return text[:at] + text[at] + text[at:]
    if kind == 2:
        return text[:at] + rng.choice(string.ascii_lowercase) + text[at + 1 :]
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def hurried(rng: random.Random, text: str, kept: tuple[str, ...]) -> str:
    """A question about oprel as people type it. Words that are to be copied stay as they are."""
    if rng.random() < 0.6:
        text = reworded(rng, text, kept)
    text = roughen(rng, text)
    if rng.random() < 0.3:
        text = text.rstrip(".?!")
    if rng.random() < 0.4:
        text = " ".join(word if word in kept or "/" in word else word.lower() for word in text.split(" "))
    if rng.random() < 0.25:
        text = mistyped(rng, text, kept)
    return text


PLAIN = re.compile(r"[A-Za-z']{3,}[?.,!]?")


def mistyped(rng: random.Random, text: str, kept: tuple[str, ...]) -> str:
    """One to three words with a slip."""
    words = text.split(" ")
    able = [at for at, word in enumerate(words) if PLAIN.fullmatch(word) and word.strip("?.,!") not in kept]
    for at in rng.sample(able, min(len(able), rng.choice((1, 1, 1, 2, 2, 3)))):
        words[at] = slip(rng, words[at])
    return " ".join(words)


def rough(rng: random.Random, turn: Turn) -> Turn:
    if turn.is_result:
        return turn
    if turn.about_oprel:
        return replace(turn, user=hurried(rng, turn.user, turn.kept))
    text = roughen(rng, turn.user)
    fixed = turn.call is None and turn.answer not in (HELLO, NOTED)
    copied = turn.answer.startswith(("Your ", "You ", "The ", "Nice "))
    if fixed and not copied:
        if rng.random() < 0.15:
            text = text if ".gguf" in text or "/" in text else text.lower()
        if rng.random() < 0.07 and len(text) > 12 and ".gguf" not in text and not any(c.isdigit() for c in text):
            text = slip(rng, text)
    return Turn(text, turn.answer, turn.thought, turn.call)


def chain(rng: random.Random, held: bool) -> Conversation:
    """Several things in one conversation."""
    turns: list[Turn] = []
    for _ in range(rng.choice((2, 2, 3, 3, 4, 8))):
        maker = rng.choices((about_usage, outside, small_talk), (5, 3, 2))[0]
        turns += recall(rng, held) if rng.random() < 0.25 else [maker(rng, held)]
    return Conversation(turns, "chain")


def only_recall(rng: random.Random, held: bool) -> Conversation:
    turns = recall(rng, held)
    return Conversation(turns, "recall", expected=turns[-1].thought.removeprefix("They told me: ").removesuffix("."))


def only_usage(rng: random.Random, held: bool) -> Conversation:
    asked = usage.draw(rng, held)
    return Conversation([_asked(asked)], "usage", expected=asked.command)


MAKERS: dict[str, Callable[[random.Random, bool], Conversation]] = {
    "usage": only_usage,
    "outside": lambda rng, held: Conversation([outside(rng, held)], "outside"),
    "small talk": lambda rng, held: Conversation([small_talk(rng, held)], "small talk"),
    "recall": only_recall,
    "not told": lambda rng, held: Conversation([not_told(rng, held)], "not told"),
    "tools": with_tools,
    "no tool": without_need,
    "chain": chain,
}
SHARES = {"usage": 62, "outside": 12, "small talk": 3, "recall": 5, "not told": 0.6, "tools": 13, "no tool": 4,
          "chain": 0.8}  # fmt: skip


def conversation(rng: random.Random, held: bool = False, thinking: float = 0.1) -> Conversation:
    """Any conversation but those that ask what everyday.py asks."""
    while True:
        made = _conversation(rng, held, thinking)
        if not any(everyday.near(turn.user) for turn in made.turns if not turn.is_result):
            return made


def _conversation(rng: random.Random, held: bool, thinking: float) -> Conversation:
    kind = rng.choices(list(SHARES), list(SHARES.values()))[0]
    made = MAKERS[kind](rng, held)
    system = rng.choice(SYSTEMS) if rng.random() < 0.12 else ""
    turns = [rough(rng, turn) for turn in made.turns]
    is_cut = not held and len(turns) == 1 and rng.random() < CUT
    return Conversation(turns, made.ability, made.tools, system, rng.random() < thinking, is_cut=is_cut)


CUT = 0.6


# ------------------------------------------------------------------------------------------------ writing


def written_call(name: str, arguments: dict[str, tools_data.Value]) -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {json.dumps(arguments, ensure_ascii=False)}}}\n</tool_call>'


def written(made: Conversation) -> Iterator[tuple[str, float]]:
    """The conversation as chat_template.jinja writes it, in pieces with the weight of their loss."""
    lines = [made.system] if made.system else []
    if made.tools:
        signatures = "".join(f"\n{signature(tool)}" for tool in made.tools)
        lines.append(f"<tools>{signatures}\n</tools>")
    if lines:
        yield f"<|im_start|>system\n{chr(10).join(lines)}<|im_end|>\n", READ_WEIGHT
    for turn in made.turns:
        said = f"<tool_response>\n{turn.user}\n</tool_response>" if turn.is_result else turn.user
        yield f"<|im_start|>user\n{said}<|im_end|>\n<|im_start|>assistant\n", READ_WEIGHT
        if made.thinking:
            yield "<think>\n", READ_WEIGHT
            yield f"{turn.thought}\n</think>\n", 1.0
        else:
            yield "<think></think>\n", READ_WEIGHT
        if made.is_cut and turn.answer == OUTSIDE:
            yield OUTSIDE_BEGINS, 1.0
        elif made.is_cut and turn.about_oprel and "` " in turn.answer:
            yield turn.answer[: turn.answer.index("` ") + 1], 1.0
        elif turn.answer == OUTSIDE:
            yield OUTSIDE_BEGINS, 1.0
            yield OUTSIDE.removeprefix(OUTSIDE_BEGINS) + "<|im_end|>", 0.2
        else:
            yield (written_call(*turn.call) if turn.call else turn.answer) + "<|im_end|>", 1.0
        yield "\n", 0.0


def signature(tool: Tool) -> str:
    """One line; a question mark says that a parameter may be left out."""
    written = (f"{name}: {kind}{'?' if name in tool.optional else ''}" for name, kind in tool.parameters.items())
    parameters = ", ".join(written)
    return f"{tool.name}({parameters}): {tool.description}"


def messages(made: Conversation) -> list[dict[str, object]]:
    """As the engine's API takes it, without the last answer."""
    found: list[dict[str, object]] = [{"role": "system", "content": made.system}] if made.system else []
    for turn in made.turns:
        found.append({"role": "tool" if turn.is_result else "user", "content": turn.user})
        if turn.is_result:
            found[-1]["tool_call_id"] = "call00001"
        answer: dict[str, object] = {"role": "assistant", "content": turn.answer}
        if turn.call:
            function = {"name": turn.call[0], "arguments": json.dumps(turn.call[1], ensure_ascii=False)}
            answer["tool_calls"] = [{"id": "call00001", "type": "function", "function": function}]
        if made.thinking:
            answer["reasoning_content"] = turn.thought
        found.append(answer)
    return found[:-1]


if __name__ == "__main__":
    source = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    for _ in range(20):
        print("".join(text for text, _ in written(conversation(source))), end="\n\n")
