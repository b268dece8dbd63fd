"""The table of endpoints and clients that a test run prints at its end.

A test adds itself with `record_property(*cell(endpoint, client))`; the property travels with its report, also from
the workers of `pytest -n`.
"""

from collections.abc import Iterable, Sequence

import pytest

CLIENTS = ("ollama-go", "ollama-python", "ollama-python-async", "ollama-js", "openai", "anthropic")
WORST_FIRST = ("error", "failed", "skipped", "passed")
WORDS = {"error": "FAILED", "failed": "FAILED", "skipped": "skipped", "passed": "ok"}

Cells = dict[tuple[str, str], str]


def cell(endpoint: str, client: str) -> tuple[str, list[str]]:
    return "cell", [endpoint, client]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    cells = gathered({outcome: terminalreporter.getreports(outcome) for outcome in WORST_FIRST})
    if cells:
        terminalreporter.section("endpoints x clients")
        for line in rendered(cells):
            terminalreporter.line(line)


def gathered(reports: dict[str, Sequence[pytest.TestReport]]) -> Cells:
    """Endpoint and client -> the worst outcome of their tests."""
    found: Cells = {}
    for outcome in reversed(WORST_FIRST):
        for report in reports[outcome]:
            for name, value in getattr(report, "user_properties", ()):  # those of a failed collection have none
                if name == "cell" and isinstance(value, list):
                    found[value[0], value[1]] = outcome
    return found


def rendered(cells: Cells) -> Iterable[str]:
    """A Markdown table; a dot where a client has no such call."""
    endpoints = sorted({endpoint for endpoint, _ in cells})
    width = max(len(endpoint) for endpoint in endpoints)
    yield f"| {'':{width}} | {' | '.join(CLIENTS)} |"
    yield f"|-{'-' * width}-|-{'-|-'.join('-' * len(client) for client in CLIENTS)}-|"
    for endpoint in endpoints:
        words = (WORDS.get(cells.get((endpoint, client), ""), "·") for client in CLIENTS)
        row = " | ".join(f"{word:{len(client)}}" for word, client in zip(words, CLIENTS, strict=True))
        yield f"| {endpoint:{width}} | {row} |"
    outcomes = [WORDS[outcome] for outcome in cells.values()]
    yield f"{len(cells)} cells: " + ", ".join(
        f"{outcomes.count(word)} {word}" for word in dict.fromkeys(WORDS.values()) if word in outcomes
    )
