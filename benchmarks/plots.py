"""Growth over the number of streams as an SVG: a line for each side, on an axis that doubles. Pure."""

from collections.abc import Iterator, Sequence
from html import escape
from math import log2

from benchmarks.figures import Figure
from benchmarks.table import amount

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 64, 170, 40, 48  # margins; the right one has the names of the sides
LINE = 18
COLOURS = ("#0b6e4f", "#c1440e", "#3b5b92", "#8a6d1d")
STEPS = 4  # of the vertical axis
STYLE = "text{font:12px sans-serif;fill:#444}.title{font-size:14px}line{stroke:#ddd}path{fill:none;stroke-width:2}"


def plot(title: str, figures: Sequence[Figure]) -> str:
    """`figures` are one quantity at several numbers of streams."""
    top = max(figure.median(side) for figure in figures for side in figure.rounds) or 1.0
    streams = sorted({figure.streams or 1 for figure in figures})
    furthest = log2(streams[-1]) or 1.0

    def across(count: int) -> float:
        return LEFT + log2(count) / furthest * (WIDTH - LEFT - RIGHT)

    def up(value: float) -> float:
        return HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)

    def parts() -> Iterator[str]:
        yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"><style>{STYLE}</style>'
        yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
        yield f'<text class="title" x="8" y="20">{escape(title)}</text>'
        for step in range(STEPS + 1):
            value = top * step / STEPS
            yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(value):.1f}" y2="{up(value):.1f}"/>'
            yield f'<text x="{LEFT - 8}" y="{up(value) + 4:.1f}" text-anchor="end">{amount(value)}</text>'
        for count in streams:
            yield f'<text x="{across(count):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{count}</text>'
        yield f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">streams</text>'
        for number, (side, colour) in enumerate(zip(_sides(figures), COLOURS, strict=False)):
            measured = [figure for figure in figures if side in figure.rounds]
            path = " L".join(f"{across(figure.streams or 1):.1f},{up(figure.median(side)):.1f}" for figure in measured)
            yield f'<path d="M{path}" stroke="{colour}"/>'
            y = TOP + LINE * number
            yield f'<text x="{WIDTH - RIGHT + 12}" y="{y}" style="fill:{colour}">{escape(side)}</text>'
        yield "</svg>"

    return "\n".join(parts()) + "\n"


def _sides(figures: Sequence[Figure]) -> list[str]:
    return list(dict.fromkeys(side for figure in figures for side in figure.rounds))
