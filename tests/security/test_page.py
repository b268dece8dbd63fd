"""docs/security.md and docs/machine.md: every test that they name exists, and no row is without one."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

from tests.fixtures.documents import ROOT

SECURITY, MACHINE = ROOT / "docs" / "security.md", ROOT / "docs" / "machine.md"
CLASSES = [f"T{number}" for number in range(1, 16)]
_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


def rows(page: Path) -> list[list[str]]:
    """The cells of each row of its tables of tests, without their heads."""
    tables = [table.splitlines() for table in page.read_text().split("\n\n") if table.startswith("| ")]
    found = []
    for head, _, *lines in tables:
        if head.endswith("tried by |"):
            found += [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return found


@pytest.mark.parametrize(("page", "tests"), [(SECURITY, 80), (MACHINE, 40)])
def test_every_test_that_it_names_exists(page: Path, tests: int) -> None:
    named = _TEST.findall(page.read_text())
    functions = {
        file: {
            node.name
            for node in ast.walk(ast.parse((ROOT / "tests" / file).read_text()))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        for file in {file for file, _ in named}
    }
    assert len(named) > tests
    assert [(file, name) for file, name in named if name not in functions[file]] == []


def test_every_row_and_every_class_has_a_test() -> None:
    tested = defaultdict[str, list[str]](list)
    for first, *_, last in rows(SECURITY):
        assert _TEST.search(last), first
        tested[first] += _TEST.findall(last)
    assert [name for name in CLASSES if name not in tested] == []


def test_every_kind_of_trouble_of_a_machine_has_a_test() -> None:
    assert len(rows(MACHINE)) >= 14 + 6
    assert [first for first, *_, last in rows(MACHINE) if not _TEST.search(last)] == []
