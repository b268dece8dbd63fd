"""A regular expression in the form that engines turn into a grammar.

llama-server (b11549) takes only patterns from `^` to `$` with classes, groups and repetitions; for others it accepts
any string. It matches the text of the JSON, not the string that it stands for. So anchors, escapes and classes are
spelled out; characters that JSON escapes are left out where the pattern permits others, and escaped where it does not.
Look-aheads are left out: only the check of the answer knows them.

The result may admit fewer strings than the pattern, never others but for look-aheads.
"""

from oprel.utils.regex.characters import ANY, CharacterSet
from oprel.utils.regex.syntax import (
    Alternation,
    Anchor,
    Characters,
    Concatenation,
    Lookahead,
    Node,
    PatternError,
    Repetition,
    parse,
    width,
)

MOST_BEFORE = 32  # characters in front of what an unanchored pattern describes: a model would not get there by itself
MOST_ALTERNATIVES = 40
PLAIN = ~(CharacterSet.of((0, 0x1F), (0x7F, 0x7F)) | CharacterSet.from_text('"\\'))  # JSON writes these as they are
BARE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _:;,@#%&=~<>!'")
SHORT_ESCAPES = {8: "b", 9: "t", 10: "n", 12: "f", 13: "r", 34: "[\\u0022]", 92: "[\\u005C]"}
BACKSLASH = "[\\u005C]"
UNCONSTRAINING = frozenset(("", ".*", "^", "$", "^.*", ".*$"))


def grammar_pattern(pattern: str, least: int = 0, most: int | None = None) -> str | None:
    r"""The pattern, for strings of `least` to `most` characters; None where engines can be given nothing.

    >>> grammar_pattern(r"^\d{3}-\d+$", most=8)
    '^[0-9]{3}[\\u002D][0-9]{1,4}$'
    """
    if pattern in UNCONSTRAINING:
        return None
    try:
        whole = _whole(parse(pattern))
    except PatternError:
        return None
    fitted = _fitted(whole, least, most) or whole
    return f"^{_grouped(fitted) if isinstance(fitted, Alternation) else _printed(fitted)}$"


# ------------------------------------------------------------------------------------------------------- anchors


def _whole(node: Node) -> Node:
    """The whole string, where `node` describes a part of it. Raises PatternError for anchors within."""
    if isinstance(node, Alternation):
        return Alternation(tuple(_whole(option) for option in node.options))
    parts = [part for part in _parts(node) if not isinstance(part, Lookahead)]
    starts = bool(parts) and parts[0] == Anchor(at_start=True)
    ends = bool(parts) and parts[-1] == Anchor(at_start=False)
    inner = [part for part in parts if not isinstance(part, Anchor)]
    if len(inner) == 1 and isinstance(inner[0], Alternation) and not (starts or ends):
        return _whole(inner[0])
    if len(parts) - len(inner) > starts + ends:
        raise PatternError("an anchor is within the pattern")
    before = () if starts else (Repetition(Characters(ANY), 0, MOST_BEFORE if inner else 0),)
    after = () if ends else (Repetition(Characters(ANY), 0, None),)
    return Concatenation((*before, *(_without_assertions(part) for part in inner), *after))


def _parts(node: Node) -> list[Node]:
    if not isinstance(node, Concatenation):
        return [node]
    return [inner for part in node.parts for inner in _parts(part)]


def _without_assertions(node: Node) -> Node:
    match node:
        case Anchor():
            raise PatternError("an anchor is within the pattern")
        case Lookahead():
            return Concatenation(())
        case Concatenation(parts):
            return Concatenation(tuple(_without_assertions(part) for part in parts))
        case Alternation(options):
            return Alternation(tuple(_without_assertions(option) for option in options))
        case Repetition(part, least, most):
            return Repetition(_without_assertions(part), least, most)
        case Characters():
            return node


# ------------------------------------------------------------------------------------------------------- lengths


def _fitted(node: Node, least: int, most: int | None) -> Node | None:
    """The node for texts of `least` to `most` characters; None where none is known."""
    low, high = width(node)
    least, most = max(least, low), high if most is None else most if high is None else min(most, high)
    if most is not None and least > most:
        return None
    if (least, most) == (low, high):
        return node
    match node:
        case Repetition(part):
            size, same = width(part)
            return _repeated(part, least, most) if size == same and size else None
        case Concatenation(parts):
            return _fitted_parts(parts, least, most)
        case Alternation(options):
            fitted = [shorter for option in options if (shorter := _fitted(option, least, most))]
            return Alternation(tuple(fitted)) if fitted else None
    return None


def _repeated(part: Node, least: int, most: int | None) -> Node | None:
    """Repetitions of a part of fixed width that have `least` to `most` characters; None if no number of them has."""
    size, _ = width(part)
    fewest, largest = -(-least // size), None if most is None else most // size
    return None if largest is not None and fewest > largest else Repetition(part, fewest, largest)


def _fitted_parts(parts: tuple[Node, ...], least: int, most: int | None) -> Node | None:
    """The parts, each with its share: the first that can take what lacks, and all alike what may be added."""
    widths = [width(part) for part in parts]
    lows = [low for low, _ in widths]
    for at, (low, high) in enumerate(widths):
        lacking = max(0, least - sum(lows))
        lows[at] += lacking if high is None else min(lacking, high - low)
    fitted = []
    spare = None if most is None else most - sum(lows)
    for at, (part, low) in enumerate(zip(parts, lows, strict=True)):
        growing = sum(high is None or high > low for (_, high), low in zip(widths[at:], lows[at:], strict=True))
        high = widths[at][1]
        if spare is not None:
            share = spare // max(1, growing)
            share = share if high is None else min(share, high - low)
            high, spare = low + share, spare - share
        fitted.append(_fitted(part, low, high))
    return Concatenation(tuple(part for part in fitted if part)) if all(fitted) else None


# -------------------------------------------------------------------------------------------------------- spelling


def _printed(node: Node) -> str:
    match node:
        case Characters(set):
            return _printed_set(set)
        case Concatenation(parts):
            return "".join(_grouped(part) if isinstance(part, Alternation) else _printed(part) for part in parts)
        case Alternation(options):
            return _printed_options(options)
        case Repetition(part, least, most):
            return _printed_repetition(_grouped(part), least, most)
    raise AssertionError(node)


def _printed_options(options: tuple[Node, ...]) -> str:
    """In parentheses if one of them is empty."""
    printed = list(dict.fromkeys(_printed(option) for option in options))
    filled = "|".join(text for text in printed if text)
    return filled if all(printed) else f"({filled})?" if filled else ""


def _grouped(node: Node) -> str:
    text = _printed(node)
    return text if isinstance(node, Characters) and not text.startswith("(") or not text else f"({text})"


def _printed_repetition(part: str, least: int, most: int | None) -> str:
    """Without `{2,}`, which llama-server reads as `{2}`."""
    if not part or most == 0:
        return ""
    if most is None:
        needed = {0: "", 1: part}.get(least, f"{part}{{{least}}}")
        return f"{needed}{part}*"
    if least == most:
        return part if most == 1 else f"{part}{{{most}}}"
    return f"{part}?" if most == 1 else f"{part}{{{least},{most}}}"


def _printed_set(set: CharacterSet) -> str:
    if plain := set & PLAIN:
        return _printed_class(plain)
    codes = [code for first, last in set.ranges for code in range(first, min(last, first + MOST_ALTERNATIVES) + 1)]
    escapes = [f"{BACKSLASH}{SHORT_ESCAPES.get(code) or f'u{code:04x}'}" for code in codes[:MOST_ALTERNATIVES]]
    return f"({'|'.join(escapes)})" if escapes else "[]"


def _printed_class(set: CharacterSet) -> str:
    if set.ranges == ((first := set.ranges[0][0], first),) and chr(first) in BARE:
        return chr(first)
    complement = ~set
    if len(complement.ranges) <= len(set.ranges):
        return f"[^{_printed_ranges(complement)}]"
    return f"[{_printed_ranges(set)}]"


def _printed_ranges(set: CharacterSet) -> str:
    ends = ((_printed_code(first), _printed_code(last)) for first, last in set.ranges)
    return "".join(first if first == last else f"{first}-{last}" for first, last in ends)


def _printed_code(code: int) -> str:
    if chr(code).isascii() and chr(code).isalnum():
        return chr(code)
    return f"\\u{code:04X}" if code <= 0xFFFF else chr(code)
