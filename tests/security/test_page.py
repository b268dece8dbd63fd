"""docs/security.md: every test that it names exists, and no class of published faults is without one."""

import ast
import re
from collections import defaultdict

from tests.fixtures.documents import ROOT

PAGE = ROOT / "docs" / "security.md"
CLASSES = [f"T{number}" for number in range(1, 16)]
_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


def rows() -> list[list[str]]:
    """The cells of each row of its tables, without their heads."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if row[-1] != "tried by"]


def test_every_test_that_it_names_exists() -> None:
    named = _TEST.findall(PAGE.read_text())
    functions = {
        file: {
            node.name
            for node in ast.walk(ast.parse((ROOT / "tests" / file).read_text()))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        for file in {file for file, _ in named}
    }
    assert len(named) > 80
    assert [(file, name) for file, name in named if name not in functions[file]] == []


def test_every_row_and_every_class_has_a_test() -> None:
    tested = defaultdict[str, list[str]](list)
    for first, *_, last in rows():
        assert _TEST.search(last), first
        tested[first] += _TEST.findall(last)
    assert [name for name in CLASSES if name not in tested] == []
