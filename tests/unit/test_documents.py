"""README.md and docs/: short enough, and every link, command line, flag and setting in them exists."""

import re
from pathlib import Path

import pytest

from oprel.cli.main import COMMANDS, Parser, _with_values, build_parser, command_parsers
from oprel.core.config import load_config
from tests.fixtures.documents import PAGES, README, ROOT, blocks, oprel_commands, prose, shell_lines

LONGEST_README = 10_000  # characters

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`(?:bin/)?oprel ([^`\n]+)`")
_FLAG = re.compile(r"(?<!\S)(--?[a-z][a-z-]*)")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@pytest.fixture(scope="module")
def parser() -> Parser:
    return build_parser()


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to a page's headings."""
    titles = re.findall(r"^#+ (.*)", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles}


def test_the_readme_is_short() -> None:
    assert len(README.read_text()) <= LONGEST_README


@pages
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text()):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_leads_to_every_page() -> None:
    linked = {(README.parent / link).resolve() for link in _LINK.findall(README.read_text()) if "://" not in link}
    assert {*PAGES} - {README} <= linked


@pages
def test_every_page_begins_with_what_it_answers(page: Path) -> None:
    title, sentence, *_ = page.read_text().split("\n\n")
    assert title.startswith("# ") and "\n" not in title
    assert sentence.endswith(".")


@pages
def test_every_command_line_is_valid(page: Path, parser: Parser) -> None:
    for line in shell_lines(page):
        for words in oprel_commands(line):
            _, rest = parser.parse_known_args(_with_values(words))
            assert not rest or (words[0] == "run" and not any(word.startswith("-") for word in rest)), line


@pages
def test_every_command_and_flag_in_the_text_exists(page: Path, parser: Parser) -> None:
    known = command_parsers(parser)
    for text in _CODE.findall(prose(page)):
        command = text.split()[0]
        assert command == "COMMAND" or command in known, text
        assert {*_FLAG.findall(text)} <= {*known.get(command, parser)._option_string_actions}, text


def test_every_command_is_documented() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    assert [name for name in COMMANDS if not re.search(rf"oprel {name}\b", text)] == []


@pages
def test_every_configuration_is_valid(page: Path, tmp_path: Path) -> None:
    for number, block in enumerate(block for block in blocks(page) if block.language == "yaml"):
        file = tmp_path / f"{number}.yaml"
        file.write_text(block.text)
        load_config(file=file, environ={})


def test_pictures_are_where_the_pages_show_them() -> None:
    shown = re.findall(r"(?:src|srcset)=\"docs/([\w-]+\.svg)\"", README.read_text())
    shown += re.findall(r"\(([\w-]+\.svg)\)", (ROOT / "docs" / "performance.md").read_text())
    assert {path.name for path in (ROOT / "docs").glob("*.svg")} == {*shown}
