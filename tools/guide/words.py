"""Word lists, invented words, and the one rule of what is kept out of training."""

import random
import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from itertools import product
from zlib import crc32

HELD_SHARE = 7  # one item in seven is for evaluation only


@lru_cache(100_000)
def is_held(item: str) -> bool:
    """Whether `item`, a word or a template, is kept out of training."""
    return crc32(item.encode()) % HELD_SHARE == 0


def pick(rng: random.Random, items: Sequence[str], held: bool) -> str:
    """One of the items of the side asked for; any of them where a side is empty."""
    return rng.choice(_side(tuple(items), held))


@cache
def _side(items: tuple[str, ...], held: bool) -> Sequence[str]:
    return [item for item in items if is_held(item) == held] or items


def expand(rng: random.Random, pattern: str) -> str:
    """Choose among every "(a|b|)" of a pattern, innermost first."""
    while match := re.search(r"\(([^()]*)\)", pattern):
        pattern = pattern[: match.start()] + rng.choice(match[1].split("|")) + pattern[match.end() :]
    return " ".join(pattern.split())


def wordings(pattern: str) -> Iterator[str]:
    """All that `expand` can make of a pattern."""
    match = re.search(r"\(([^()]*)\)", pattern)
    if match is None:
        yield " ".join(pattern.split())
        return
    for choice in match[1].split("|"):
        yield from wordings(pattern[: match.start()] + choice + pattern[match.end() :])


def grid(*parts: str) -> tuple[str, ...]:
    """Every combination of the parts' alternatives: grid("see|list", "models") is "see models" and "list models"."""
    joined = (" ".join(" ".join(one).split()) for one in product(*(part.split("|") for part in parts)))
    return tuple(re.sub(r" ([?.,!:])(?![^ ])", r"\1", one) for one in joined)


def plain(wording: str) -> str:
    """A wording without what hardly counts."""
    return " ".join(re.sub(r"[^\w{}'`/ -]", "", wording).lower().split())


def apart(more: Sequence[str], examined: Sequence[str]) -> tuple[str, ...]:
    """Those of `more` that no held-out pattern of `examined` can say: they are for training only."""
    spoken = {plain(one) for pattern in examined if is_held(pattern) for one in wordings(pattern)}
    return tuple(one for one in dict.fromkeys(more) if plain(one) not in spoken)


def either(rng: random.Random, examined: Sequence[str], more: Sequence[str], held: bool) -> str:
    """A pattern that is examined too, or in training as often one of `more`."""
    if held or not more or rng.random() < 0.5:
        return pick(rng, examined, held)
    return rng.choice(more)


ONSETS = "b c d f g h j k l m n p r s t v w z br ch cl dr fl gr kl kr pl pr qu sh sk sl st th tr vr zh y".split()
VOWELS = "a e i o u a e i o u ai ea ia io oo ou y".split()
ENDS = ["", "", "", "", "n", "r", "l", "s", "t", "m", "k", "x", "nd", "rt", "th"]


def invented(rng: random.Random, held: bool, syllables: tuple[int, int] = (2, 3)) -> str:
    """A word of random syllables, such as "flomira", from the side asked for."""
    while True:
        if not held and rng.random() < SPLICED:
            return spliced(rng)
        parts = (rng.choice(ONSETS) + rng.choice(VOWELS) for _ in range(rng.randint(*syllables)))
        word = "".join(parts) + rng.choice(ENDS)
        if is_held(word) == held:
            return word


def spliced(rng: random.Random) -> str:
    """The beginning of one word and the end of another, such as "kitchower"; for training only. So every piece of
    which words are made is copied sometimes."""
    while True:
        first, second = rng.choice(_spliceable()), rng.choice(_spliceable())
        word = first[: rng.randint(1, len(first))] + second[rng.randrange(len(second) + 1) :]
        if 3 <= len(word) <= 12 and not is_held(word) and not is_held(word.capitalize()):
            return word


@cache
def _spliceable() -> list[str]:
    lists = (NAMES, CITIES, COLOURS, FOODS, ANIMALS, OBJECTS, TOPICS, COMMON)
    words = {word.lower() for items in lists for item in items if not is_held(item) for word in item.split()}
    return sorted(word for word in words if re.fullmatch("[a-z]+", word) and not is_held(word))


SPLICED = 0.4  # the share of spliced words among the invented ones in training
COMMON = """about after all allow answer any ask before best better bring call can change chat check clear command
computer connect context could daemon data default delete do does done engine every explain fast file find first
folder for forever format found free from get give good graphics hand have help home hour how idle import inside
installed internet just keep know language large layers learn leave level light limit list listen little load local
long look machine make memory message minute model more move much must name need network never new next not now
number office open option other out over own parallel part place play port print private process program prompt put
question quick read real remember remove request right room run running same save script search see send serve
server service session set setting settings short show side size slow small some song speed start status stay still
stop store system take talk tell temperature text thank that the thing thread time today together tokens tomorrow
tool turn under unload until use user version wait want water way weather what when where which who why will window
with without word work world write year young""".split()

NAMES = """Ada Adam Agnes Ahmed Aiko Akira Alan Alba Alex Alice Alma Amina Amir Amy Ana Anders Andrea Andrei
Angela Anita Anna Anton Ari Arthur Astrid Ayumi Barbara Beatrice Ben Bianca Bjorn Bob Boris Brian Bruno Carla
Carlos Carmen Cecilia Chen Chloe Chris Clara Claude Colin Dana Daniel Daria David Deborah Diana Diego Dmitri Edith
Eduardo Elena Eli Elisa Emil Emily Emma Eric Erik Esther Eva Fatima Felix Fiona Frank Frida Gabriel George Greta
Hana Hans Harry Hassan Heidi Helen Henry Hiro Hugo Ian Ibrahim Ida Igor Ines Ingrid Irene Isaac Isabel Ivan Jack
Jacob Jamal James Jana Jane Jasper Javier Jean Jenny Jim Joan Joe Johanna John Jonas Jorge Jose Julia Julian Kai
Karen Karim Karl Kate Keiko Ken Kim Klaus Lara Lars Laura Lea Lena Leo Liam Lina Linda Lisa Lucas Lucia Luis Luna
Magnus Malik Marco Maria Marie Mark Marta Martin Mary Mateo Matt Maya Mei Michael Mila Milan Mina Miriam Mohamed
Mona Nadia Naomi Nick Nico Nina Noah Nora Olga Oliver Omar Oscar Otto Pablo Paul Paula Pedro Peter Petra Philip
Pia Priya Rachel Raj Ravi Rebecca Rita Robert Rosa Ruth Sam Samira Sandra Sara Sasha Simon Sofia Stefan Sven Tara
Ted Theo Thomas Tim Tina Tom Uma Ursula Vera Victor Viktor Wei Yara Yuki Yusuf Zoe""".split()

COLOURS = """red blue green yellow orange purple pink brown black white grey silver gold violet indigo turquoise
teal beige maroon crimson scarlet magenta cyan navy olive lime coral salmon lavender amber ivory mint peach plum
rust khaki azure emerald ruby bronze copper cream charcoal lilac""".split()

CITIES = """Paris London Rome Berlin Madrid Lisbon Vienna Prague Warsaw Budapest Athens Dublin Oslo Stockholm
Helsinki Copenhagen Amsterdam Brussels Zurich Geneva Milan Naples Venice Hamburg Munich Cologne Lyon Marseille
Nice Barcelona Seville Valencia Porto Krakow Riga Vilnius Tallinn Kyiv Bucharest Sofia Belgrade Zagreb Istanbul
Ankara Cairo Tunis Casablanca Lagos Nairobi Accra Dakar Johannesburg Tokyo Osaka Kyoto Seoul Beijing Shanghai
Bangkok Hanoi Jakarta Manila Singapore Mumbai Delhi Chennai Karachi Lahore Dhaka Tehran Baghdad Dubai Doha Riyadh
Jerusalem Moscow Toronto Montreal Vancouver Boston Chicago Denver Seattle Portland Austin Dallas Houston Miami
Atlanta Phoenix Lima Bogota Quito Santiago Havana Sydney Melbourne Perth Auckland Wellington Reykjavik Edinburgh
Glasgow Bristol Leeds Oxford Cambridge""".split()

FOODS = """pizza pasta rice soup bread cheese salad curry sushi noodles tacos apples bananas cherries grapes
mangoes pancakes waffles potatoes lentils beans mushrooms chocolate honey olives tomatoes carrots spinach
dumplings paella risotto lasagna falafel hummus omelette strawberries blueberries yoghurt porridge stew""".split()

ANIMALS = """cat dog horse cow sheep goat pig rabbit hamster parrot owl eagle falcon swan duck goose penguin
turtle lizard snake frog fox wolf bear lion tiger leopard elephant giraffe zebra camel otter beaver badger
squirrel hedgehog dolphin whale shark octopus crab bee ant spider butterfly""".split()

OBJECTS = """car bike train boat plane house garden kitchen table chair lamp window door roof bridge tower book
letter pencil guitar piano violin drum flute camera phone watch clock hammer saw drill rope tent bag coat shoe hat
glove scarf ring coin stamp map ticket bottle cup plate spoon knife bowl oven fridge candle mirror carpet pillow
blanket wheel engine battery lens telescope kite ball puzzle robot rocket umbrella fence ladder bucket printer
keyboard bus lorry candle statue ship tractor shirt trousers sofa bed television radio""".split()

TOPICS = """gravity photosynthesis volcanoes earthquakes dinosaurs chess football tennis cricket poetry opera jazz
painting sculpture history geography economics inflation democracy law medicine vaccines viruses bacteria atoms
electrons magnets lasers rainbows thunder hurricanes glaciers deserts oceans rivers mountains forests islands
comets planets stars galaxies black_holes the_moon the_sun Mars Jupiter evolution genetics cells neurons dreams
memory sleep happiness love friendship philosophy religion mythology Vikings pyramids castles knights pirates
the_Roman_Empire Napoleon Cleopatra Shakespeare Mozart Beethoven Einstein Newton Darwin cooking baking gardening
fishing sailing hiking yoga swimming skiing knitting photography taxes mortgages insurance bitcoin
the_stock_market algebra calculus geometry probability prime_numbers logarithms matrices recursion
sorting_algorithms linked_lists pointers regular_expressions SQL HTML Kubernetes Git compilers cryptography
quantum_computers blockchains electricity steam_engines bridges airplanes submarines coffee tea wine beer
chocolate olive_oil sourdough cheese vitamins protein headaches fever allergies diabetes France Japan Brazil Egypt
Canada Australia India China Norway Kenya Peru Greek_gods Latin_grammar Esperanto haiku the_alphabet the_weather
the_news climate_change recycling solar_panels wind_turbines nuclear_power traffic_lights marriage politics
elections the_Olympics the_World_Cup horoscopes ghosts unicorns dragons vampires magic_tricks jokes riddles
crosswords karaoke fashion perfume tattoos haircuts furniture plumbing""".split()
TOPICS = [topic.replace("_", " ") for topic in TOPICS]

FOREIGN = """hola bonjour guten Tag ciao buenos dias comment ça va wie geht es dir qué tal obrigado danke merci
gracias por favor wo ist der Bahnhof où est la gare dónde está el baño quanto costa questo was ist das ich liebe
dich je ne sais pas no entiendo kannst du mir helfen pouvez vous m'aider ¿ cómo te llamas come stai hvad hedder du
jag heter tack привет как дела спасибо что это такое 你好 谢谢 今天 天气 怎么样 こんにちは ありがとう
東京 안녕하세요 감사합니다 مرحبا شكرا नमस्ते
γεια σου merhaba teşekkürler dziękuję proszę děkuji köszönöm kiitos hur mår du vad är klockan welche Farbe hat der
Himmel quelle heure est il cuál es la capital de""".split()
