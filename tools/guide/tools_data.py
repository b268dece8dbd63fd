"""Tools of many shapes, questions that fit them, and what they give back."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import tool_wordings as extra
from words import ANIMALS, CITIES, COLOURS, FOODS, NAMES, OBJECTS, apart, either, expand, invented, is_held, pick

Value = str | int | float


@dataclass(frozen=True)
class Tool:
    name: str
    description: str
    parameters: dict[str, str]  # name -> JSON type
    optional: frozenset[str] = frozenset()

    @property
    def required(self) -> list[str]:
        return [name for name in self.parameters if name not in self.optional]

    @property
    def schema(self) -> dict[str, Any]:
        """As OpenAI's and Ollama's APIs want it."""
        properties = {name: {"type": kind} for name, kind in self.parameters.items()}
        parameters = {"type": "object", "properties": properties, "required": self.required}
        function = {"name": self.name, "description": self.description, "parameters": parameters}
        return {"type": "function", "function": function}


@dataclass(frozen=True)
class Case:
    """A tool, a question for it, the right arguments, and a result with the sentence that tells it."""

    tool: Tool
    question: str
    arguments: dict[str, Value]
    result: str
    told: str
    topic: str  # tools of one topic do the same


def place(rng: random.Random, held: bool) -> str:
    return pick(rng, CITIES, held) if rng.random() < 0.4 else invented(rng, held).capitalize()


def person(rng: random.Random, held: bool) -> str:
    return pick(rng, NAMES, held) if rng.random() < 0.4 else invented(rng, held).capitalize()


def thing(rng: random.Random, held: bool) -> str:
    if not held and rng.random() < 0.1:
        return f"{invented(rng, held)} {invented(rng, held)}"
    one = rng.choice((FOODS, ANIMALS, OBJECTS, OBJECTS))
    word = pick(rng, one, held) if rng.random() < 0.5 else invented(rng, held)
    return f"{pick(rng, COLOURS, held)} {word}" if rng.random() < 0.3 else word


def number(rng: random.Random, held: bool) -> int:
    if not held and rng.random() < 0.2:
        value = rng.randint(1000, 99999)
        return value if not is_held(f"number {value}") else 7
    while True:
        value = rng.choice((rng.randint(1, 20), rng.randint(1, 99), rng.randint(10, 999), rng.randint(100, 9999)))
        if is_held(f"number {value}") == held or value < 10:
            return value


def small(rng: random.Random, held: bool) -> int:
    return rng.randint(1, 60)


def text(rng: random.Random, held: bool) -> str:
    """A message of a few words."""
    told = (
        "I am late", "see you tomorrow", "dinner is ready", "call me back", "happy birthday", "the meeting is over",
        "we need more {t}", "buy {t}", "bring the {t}", "the {t} is broken", "I lost my {t}", "feed the {t}",
        "good luck",
        "meet me in {p}", "greetings from {p}", "{n} has arrived", "ask {n} about the {t}", "clean the {t}",
        "on my way",
        "paint the {t}", "do not forget the {t}", "thanks for the {t}", "I am in {p}", "water the {t}",
        "where is the {t}",
    )  # fmt: skip
    pattern = either(rng, told, extra.TEXTS, held)
    return pattern.format(t=thing(rng, held), p=place(rng, held), n=person(rng, held))


LANGUAGES = """French German Spanish Italian Portuguese Dutch Danish Swedish Norwegian Finnish Polish Czech Greek
Turkish Russian Arabic Hebrew Hindi Japanese Korean Chinese Thai Swahili Latin Hungarian""".split()
UNITS = """miles kilometers meters feet inches yards pounds kilograms grams ounces liters gallons cups celsius
fahrenheit dollars euros yen hours minutes seconds days weeks acres""".split()
GENRES = "jazz rock pop opera techno folk blues reggae metal soul punk funk disco salsa ambient".split()
ROOMS = "kitchen bedroom bathroom garage hallway garden office cellar attic nursery library studio porch".split()


def _of(words: list[str]) -> Callable[[random.Random, bool], str]:
    def one(rng: random.Random, held: bool) -> str:
        """One of the list; in training often an invented word, so that it must be copied."""
        if held or rng.random() < 0.65:
            return pick(rng, words, held)
        return invented(rng, held).capitalize() if words[0][0].isupper() else invented(rng, held)

    return one


DRAWN: dict[str, Callable[[random.Random, bool], Value]] = {
    "city": place, "person": person, "thing": thing, "number": number, "small": small, "text": text,
    "language": _of(LANGUAGES), "unit": _of(UNITS), "genre": _of(GENRES), "room": _of(ROOMS), "colour": _of(COLOURS),
    "food": _of(FOODS),
}  # fmt: skip


@dataclass(frozen=True)
class Family:
    """Tools that people offer often. `slots`: parameter -> what it holds; questions name the parameters in braces."""

    names: str
    descriptions: str
    slots: dict[str, str]
    questions: tuple[str, ...]
    told: str
    results: tuple[str, ...] = ()
    optional_names: dict[str, str] = field(default_factory=dict)  # parameter -> other names of it


FAMILIES = (
    Family("(get_weather|weather|current_weather|get_current_weather|check_weather)",
           "(Get|Find|Look up) the (current|) weather (of|in|for) a city", {"city": "city"}, (
        "(What|How) is the weather (in|like in) {city} (now|today|)?", "(what's|how's) the weather in {city}?",
        "Is it (raining|sunny|cold|warm|snowing) in {city}?", "Do I need an umbrella in {city}?", "Weather in {city}?",
        "Tell me the weather (in|for) {city}.", "weather {city}", "How (warm|cold|hot) is it in {city}?",
        "(Check|Get|Show|Give) (me|) the weather in {city} (please|).", "What will the weather be in {city}?",
    ), "The weather in {city} is {r}.", ("{n} degrees", "sunny", "rainy, {n} degrees", "cloudy", "snow", "{n} C"),
        {"city": "(city|location|place|town)"}),
    Family("(add|add_numbers|sum|plus)", "Add two numbers", {"a": "number", "b": "number"}, (
        "(What is|Add|Calculate|How much is) {a} (plus|and|+) {b}?", "What is {a} + {b}?", "{a} + {b}", "{a} plus {b}",
        "Please add {a} and {b}.", "Add {a} to {b}.", "What is the sum of {a} and {b}?", "sum {a} and {b}",
        "add {a} {b}",
    ), "The result is {r}.", ("{n}",), {"a": "(a|x|first)", "b": "(b|y|second)"}),
    Family("(multiply|times|product)", "Multiply two numbers", {"a": "number", "b": "number"}, (
        "(What is|Calculate|How much is) {a} times {b}?", "Multiply {a} by {b}.", "{a} * {b}", "What is {a} * {b}?",
        "What is the product of {a} and {b}?", "multiply {a} and {b}", "{a} times {b}", "Please multiply {a} with {b}.",
    ), "The result is {r}.", ("{n}",), {"a": "(a|x|first)", "b": "(b|y|second)"}),
    Family("(subtract|minus)", "Subtract one number from another", {"a": "number", "b": "number"}, (
        "(What is|Calculate|How much is) {a} minus {b}?", "{a} - {b}", "What is {a} - {b}?", "{a} minus {b}",
        "Take {b} from {a}.", "subtract {b} from {a}",
    ), "The result is {r}.", ("{n}",), {"a": "(a|x|first)", "b": "(b|y|second)"}),
    Family("(set_timer|start_timer|timer)", "(Set|Start) a timer for some minutes", {"minutes": "small"}, (
        "Set a timer for {minutes} minutes.", "Start a {minutes} minute timer.", "timer {minutes} minutes",
        "(Please|) set a {minutes} minute timer", "Wake me in {minutes} minutes.", "Count down {minutes} minutes.",
        "I need a timer for {minutes} minutes.", "Start a timer of {minutes} minutes, please.",
    ), "The timer is set: {r}.", ("ok", "{n} minutes", "started", "done"), {"minutes": "(minutes|duration)"}),
    Family("(set_alarm|alarm|wake_up)", "Set an alarm at an hour", {"hour": "small"}, (
        "Set an alarm for {hour} o'clock.", "Wake me at {hour}.", "(I need|set) an alarm at {hour}", "alarm at {hour}",
        "Set the alarm to {hour} o'clock please.",
    ), "The alarm is set: {r}.", ("ok", "set", "done"), {"hour": "(hour|time)"}),
    Family("(convert|convert_units|unit_convert)", "Convert an amount from one unit to another",
           {"amount": "number", "source": "unit", "target": "unit"}, (
        "Convert {amount} {source} to {target}.", "(How many|How much) {target} are {amount} {source}?",
        "What is {amount} {source} in {target}?", "{amount} {source} in {target}?", "{amount} {source} to {target}",
        "Please convert {amount} {source} into {target}.", "Change {amount} {source} to {target}.",
    ), "{amount} {source} are {r} {target}.", ("{n}",), {"source": "(source|from|from_unit)",
    "target": "(target|to|to_unit)"}),
    Family("(search|web_search|search_web|find)", "(Search|Look something up on) the web", {"query": "thing"}, (
        "(Search|Search the web) for {query}.", "(Please|) search for {query}", "Look up {query} on the web.",
        "Find {query} on the web.", "search {query}", "Google {query}.", "Can you search for {query}?",
        "web search: {query}",
    ), "I found this about {query}: {r}.", ("{n} pages", "nothing", "{t}"), {"query": "(query|q|text|term)"}),
    Family("(send_message|message|send_text|text_person)", "Send a message to a person", {"to": "person",
        "text": "text"}, (
        "Send {to} the message: {text}", "(Tell|Text|Message) {to}: {text}", "Tell {to} that {text}.",
        "Write {to}: {text}",
        "Send a message to {to}: {text}", "Message {to} saying {text}", "Let {to} know: {text}",
        "Text {to} that {text}",
    ), "The message to {to} is sent: {r}.", ("ok", "sent", "delivered"), {"to": "(to|recipient|name)",
    "text": "(text|message|body)"}),
    Family("(translate|translate_text)", "Translate a text into another language", {"text": "text",
        "language": "language"}, (
        'Translate "{text}" into {language}.', 'How do you say "{text}" in {language}?', 'Say "{text}" in {language}.',
        'translate "{text}" to {language}', 'What is "{text}" in {language}?', 'Put "{text}" into {language}.',
    ), "In {language}: {r}.", ("{t}", "{t} {t2}"), {"text": "(text|phrase)", "language": "(language|target|to)"}),
    Family("(play_music|play|start_music)", "Play music of a genre", {"genre": "genre"}, (
        "Play (some|) {genre}.", "Play {genre} music.", "I want to hear {genre}.", "Put on some {genre} please.",
        "Start some {genre} music.", "(Let me|I would like to) listen to {genre}.",
    ), "Now playing {genre}: {r}.", ("ok", "{t}", "started"), {"genre": "(genre|style|kind)"}),
    Family("(light_on|turn_on_light|lights_on)", "Turn on the light in a room", {"room": "room"}, (
        "Turn on the light in the {room}.", "Light in the {room} please.", "Turn the {room} light on.",
        "It is dark in the {room}.", "Switch on the {room} light.", "lights on in the {room}",
    ), "The light in the {room} is on: {r}.", ("ok", "on", "done"), {"room": "(room|where|place)"}),
    Family("(set_reminder|remind|add_reminder)", "Remind the user of something", {"text": "text"}, (
        "Remind me: {text}", "Set a reminder: {text}", "Add a reminder: {text}", "Please remind me: {text}",
    ), "The reminder is set: {r}.", ("ok", "saved", "done"), {"text": "(text|note|what)"}),
    Family("(add_to_list|shopping_list|buy)", "Add something to the shopping list", {"item": "thing",
        "count": "small"}, (
        "Add {count} {item} to my shopping list.", "Put {count} {item} on the shopping list.",
        "I need to buy {count} {item}.", "shopping list: {count} {item}", "Write {count} {item} on my shopping list.",
    ), "The shopping list has it: {r}.", ("ok", "added", "{n} items"), {"item": "(item|what|product)",
    "count": "(count|amount|quantity)"}),
    Family("(book_table|reserve_table|reserve)", "Book a table in a city", {"city": "city", "people": "small"}, (
        "Book a table for {people} in {city}.", "Reserve a table in {city} for {people} people.",
        "I want a table for {people} people in {city}.", "We are {people}, book a table in {city}.",
        "table for {people} in {city}",
    ), "The table in {city} is booked: {r}.", ("ok", "confirmed",
    "number {n}"), {"people": "(people|guests|persons)", "city": "(city|place)"}),
    Family("(find_route|get_directions|route)", "Find the way from one city to another", {"start": "city",
        "end": "city"}, (
        "How do I get from {start} to {end}?", "Find a route from {start} to {end}.",
        "Directions from {start} to {end}.",
        "What is the way from {start} to {end}?", "I want to drive from {start} to {end}.", "route {start} to {end}",
    ), "From {start} to {end}: {r}.", ("{n} km", "{n} minutes"), {"start": "(start|from|origin)",
    "end": "(end|to|destination)"}),
    Family("(roll_dice|roll|dice)", "Roll a dice with some sides", {"sides": "small"}, (
        "Roll a dice with {sides} sides.", "Roll a {sides} sided dice.", "Throw a {sides} sided dice.",
        "dice with {sides} sides",
    ), "The dice shows {r}.", ("{n}",), {"sides": "(sides|faces)"}),
    Family("(get_time|time_in|current_time)", "Get the (current|) time in a city", {"city": "city"}, (
        "What time is it in {city}?", "(Tell me|Get|Show) the time in {city}.", "What is the time in {city}?",
        "How late is it in {city}?", "time in {city}?", "current time in {city}",
    ), "It is {r} in {city}.", ("{h}:{mm}",), {"city": "(city|location|place|timezone)"}),
)  # fmt: skip

GET_NAMES = ("get", "find", "fetch", "look_up", "lookup", "check", "query", "read", "show", "load", "retrieve")
GET_WORDS = {"look_up": "Look up", "lookup": "Look up", "query": "Get", "load": "Get"}
NOUNS = """price population recipe definition address score status schedule owner size weight height age colour
history author title email birthday capital currency distance temperature mayor winner phone salary balance rating
stock menu forecast humidity altitude flag anthem map budget deadline manager location spelling synonym rhyme
meaning origin value length width depth speed duration summary review version license calendar horoscope lyrics
timetable ticket""".split()
KINDS = """city country person product word book film song team company train flight user account file task
project river mountain animal plant recipe stock coin room device server invoice order package student teacher
patient doctor museum hotel restaurant school street planet game player car street ship""".split()
ASK_GET = (
    "What is the {noun} of {x}?", "(Get|Find|Fetch|Show|Give|Tell) me the {noun} of {x}.",
    "(what's|whats) the {noun} of {x}",
    "{noun} of {x}?", "Look up the {noun} of {x}.", "I need the {noun} of {x}.", "Do you know the {noun} of {x}?",
    "Can you tell me the {noun} of {x}?", "Please (find|check|get) the {noun} of {x}.", "What {noun} does {x} have?",
    "What is the {noun} for {x}?", "Which {noun} has {x}?", "Could you check the {noun} of {x}?", "{x}'s {noun} please",
    "What is {x}'s {noun}?", "find {x}'s {noun}", "I want to know the {noun} of {x}.", "the {noun} of the {kind} {x}?",
    "What is the {noun} of the {kind} {x}?", "check the {noun} for {x}",
    "Look for the {noun} of {x}.", "Give the {noun} of the {kind} {x}.", "Query the {noun} of {x}.",
    "Is there a {noun} of {x}?", "Read the {noun} of the {kind} {x} please.", "I am looking for the {noun} of {x}.",
    "Tell the {noun} of the {kind} {x}.", "Would you show me the {noun} of {x}?", "Search the {noun} of {x}.",
    "Return the {noun} of {x}.", "the {noun} of {x} please", "now the {noun} of {x}",
    "I wonder what the {noun} of {x} is.", "Load the {noun} of the {kind} {x}.",
    "Retrieve the {noun} of the {kind} called {x}.", "{kind} {x}: what is the {noun}?",
)  # fmt: skip
VERBS = """open close start stop delete create paint repair sell order rent lock unlock clean wash feed call
invite follow block archive rename print scan copy move cook bake water charge restart ping mute draw cancel
approve ship track refill borrow return measure weigh photograph hire dismiss enable disable install upload""".split()
ASK_DO = (
    "(Please|) {verb} {x}.", "{verb} the {kind} {x}", "Can you {verb} {x}?", "I want you to {verb} {x}.",
    "{verb} {x} please",
    "{verb} {x} now.", "Could you {verb} the {kind} {x}?", "I need to {verb} {x}.", "Would you {verb} {x} for me?",
    "Go and {verb} {x}.", "It is time to {verb} {x}.", "Let us {verb} {x}.",
    "Would you please {verb} {x}?", "I would like you to {verb} {x}.", "My wish: {verb} {x}.",
    "Do {verb} {x}, please.", "{verb} my {kind} {x}", "Can somebody {verb} {x}?", "You should {verb} {x}.",
    "Be so kind and {verb} {x}.", "Let someone {verb} the {kind} {x}.",
)  # fmt: skip
ASK_COUNT = (
    "{verb} {n} of {x}.", "{verb} {x} {n} times.", "Please {verb} {x} with {n}.", "{verb} the {kind} {x} at {n}",
    "Can you {verb} {x} for {n}?", "{verb} {n} {x}", "I want to {verb} {n} {x}.", "{verb} {x} by {n} please",
    "{verb} {x}, {n} of it.", "Would you {verb} {x} with {n}?", "{verb} {x} using {n}.",
    "I would like to {verb} {n} {x}.", "Do {verb} {x} at {n}.", "{verb} {x} up to {n}",
)  # fmt: skip
MORE_GET, MORE_DO = apart(extra.GET, ASK_GET), apart(extra.DO, ASK_DO)
MORE_COUNT = apart(extra.COUNT, ASK_COUNT)
MORE = {family.names: apart(extra.FAMILIES[name], family.questions)
        for family in FAMILIES for name in extra.FAMILIES if family.names.startswith(f"({name}|")}  # fmt: skip


def subject(rng: random.Random, held: bool) -> str:
    return str(rng.choice((place, person, thing))(rng, held))


def result_value(rng: random.Random, held: bool) -> str:
    return str(rng.choice((number, place, person, thing, number))(rng, held))


def wrapped(rng: random.Random, key: str, value: str) -> str:
    """A result as tools give it: bare, or as JSON."""
    bare = value if value.isdigit() else f'"{value}"'
    return rng.choice((value, value, f'{{"{key}": {bare}}}', f'{{"result": {bare}}}'))


WEATHER_KEYS = ("temperature", "condition", "sky", "wind", "humidity", "unit", "rain", "degrees", "forecast")


def several(rng: random.Random, held: bool) -> tuple[str, str]:
    """Two or three figures, as a sentence tells them and as JSON."""
    keys = rng.sample(WEATHER_KEYS, rng.randint(2, 3))
    words = ["sunny", "cloudy", "rainy", "clear", "strong", "weak", "C", "F", "high", "low", "none"]
    figures = {key: rng.choice((number(rng, held), rng.choice(words))) for key in keys}
    return ", ".join(f"{key} {value}" for key, value in figures.items()), json.dumps(figures)


def familiar(rng: random.Random, held: bool) -> Case:
    family = rng.choice(FAMILIES)
    names = {slot: expand(rng, family.optional_names.get(slot, slot)) for slot in family.slots}
    values = {slot: DRAWN[kind](rng, held) for slot, kind in family.slots.items()}
    if "source" in values:
        values["target"] = rng.choice([u for u in UNITS if u != values["source"] and (held or not is_held(u))])
    integer = rng.choice(("integer", "number"))
    kinds = {names[slot]: integer if isinstance(value, int) else "string" for slot, value in values.items()}
    tool = Tool(expand(rng, family.names), expand(rng, family.descriptions), kinds)
    question = expand(rng, either(rng, family.questions, MORE[family.names], held)).format(**values)
    fill = {"n": number(rng, held), "t": thing(rng, held), "t2": thing(rng, held), "h": rng.randint(0, 23),
            "mm": f"{rng.randint(0, 59):02}"}  # fmt: skip
    if family.names.startswith("(get_weather") and rng.random() < 0.5:
        value, result = several(rng, held)
    else:
        value = rng.choice(family.results).format(**fill)
        result = wrapped(rng, "result", value)
    arguments = {names[slot]: value for slot, value in values.items()}
    return Case(tool, question, arguments, result, family.told.format(r=value, **values), family.names)


def looked_up(rng: random.Random, held: bool) -> Case:
    """A tool that gives some property of something; half of the properties are invented words."""
    noun = pick(rng, NOUNS, held) if rng.random() < 0.6 else invented(rng, held)
    kind = pick(rng, KINDS, held) if rng.random() < 0.7 else invented(rng, held)
    verb = rng.choice(GET_NAMES)
    name = rng.choice((f"{verb}_{noun}", f"{verb}_{noun}", f"{noun}_of_{kind}", f"{kind}_{noun}", noun))
    words = GET_WORDS.get(verb, verb.capitalize())
    description = rng.choice((f"{words} the {noun} of a {kind}", f"{words} the {noun} of a {kind}",
                              f"Returns the {noun} of a {kind}", f"{noun} of a {kind}"))  # fmt: skip
    parameter = rng.choice((kind, kind, "name", f"{kind}_name", "id", "key", invented(rng, held)))
    x = subject(rng, held)
    question = expand(rng, either(rng, ASK_GET, MORE_GET, held)).format(noun=noun, kind=kind, x=x)
    value = result_value(rng, held)
    told = f"The {noun} of {x} is {value}."
    tool = Tool(name, description, {parameter: "string"})
    return Case(tool, question, {parameter: x}, wrapped(rng, noun, value), told, noun)


def done(rng: random.Random, held: bool) -> Case:
    """A tool that does something to something, perhaps with a number."""
    verb = pick(rng, VERBS, held) if rng.random() < 0.6 else invented(rng, held)
    kind = pick(rng, KINDS, held) if rng.random() < 0.7 else invented(rng, held)
    name = rng.choice((f"{verb}_{kind}", f"{verb}_{kind}", verb, f"do_{verb}"))
    counted = rng.random() < 0.4
    parameter, count = (
        rng.choice((kind, "name", "target", "item", "what")),
        rng.choice(("count", "amount", "number", "n")),
    )
    x, n = subject(rng, held), number(rng, held)
    arguments: dict[str, Value] = {parameter: x} | ({count: n} if counted else {})
    kinds = {parameter: "string"} | ({count: rng.choice(("integer", "number"))} if counted else {})
    question = expand(rng, either(rng, *((ASK_COUNT, MORE_COUNT) if counted else (ASK_DO, MORE_DO)), held))
    question = question.format(verb=verb, kind=kind, x=x, n=n)
    if rng.random() < 0.5:
        question = question[0].upper() + question[1:]
    value = rng.choice(("ok", "done", "true", "success"))
    description = rng.choice((f"{verb.capitalize()} a {kind}", f"{verb.capitalize()} some {kind}"))
    return Case(
        Tool(name, description, kinds), question, arguments, wrapped(rng, "status", value), f"Done: {value}.", verb
    )


def draw(rng: random.Random, held: bool) -> Case:
    return rng.choices((familiar, looked_up, done), (4, 4, 2))[0](rng, held)


def offered(rng: random.Random, held: bool, case: Case, most: int = 3) -> list[Tool]:
    """The case's tool among others, in any order."""
    return [_extended(rng, held, one.tool) for one in _distinct(rng, held, [case], rng.choice((1, 1, 2, 2, most)))]


def unfitting(rng: random.Random, held: bool) -> tuple[list[Tool], Case]:
    """Tools, and a case for none of them."""
    case = draw(rng, held)
    cases = _distinct(rng, held, [case], rng.choice((2, 2, 3)))
    return [_extended(rng, held, one.tool) for one in cases if one is not case], case


def _extended(rng: random.Random, held: bool, tool: Tool) -> Tool:
    """The tool, perhaps with a parameter that may be left out."""
    extra = rng.choice(("unit", "format", "limit", "lang", "units", "mode", "options", invented(rng, held)))
    if rng.random() > 0.15 or extra in tool.parameters:
        return tool
    return replace(tool, parameters=tool.parameters | {extra: "string"}, optional=frozenset({extra}))


def _distinct(rng: random.Random, held: bool, cases: list[Case], wanted: int) -> list[Case]:
    while len(cases) < wanted:
        other = draw(rng, held)
        if all(other.topic != one.topic and other.tool.name != one.tool.name for one in cases):
            cases.append(other)
    rng.shuffle(cases)
    return cases
