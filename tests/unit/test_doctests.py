"""Examples in docstrings, run as they stand."""

import doctest
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import oprel

PACKAGE = Path(oprel.__file__).parent
# These must keep their examples; others that have some are run with them.
EXPECTED = {
    *(
        "api_models",
        "client.base",
        "client.functions",
        "client.types",
        "core.models.modelfile",
        "core.configuration.ollama_env",
    ),
    *(
        "server.api.common.encode",
        "server.api.common.sse",
        "server.access.hosts",
        "server.inference.truncation",
        "utils.text",
    ),
}


def modules() -> Iterator[str]:
    """Names of the modules with an example."""
    for file in sorted(PACKAGE.rglob("*.py")):
        if ">>> " in file.read_text() and (file.name != "_windows.py" or sys.platform == "win32"):
            yield ".".join(["oprel", *file.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")


def examples() -> Iterator[doctest.DocTest]:
    for name in modules():
        yield from (test for test in doctest.DocTestFinder().find(import_module(name)) if test.examples)


@pytest.mark.parametrize("test", list(examples()), ids=lambda test: test.name)
def test_an_example_is_true(test: doctest.DocTest) -> None:
    report: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    assert report == []


def test_no_examples_were_lost() -> None:
    assert set(modules()) >= {f"oprel.{name}" for name in EXPECTED}
