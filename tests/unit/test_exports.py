"""What `import oprel` offers."""

import ast
import inspect
import subprocess
import sys
from importlib import import_module

import pytest

import oprel
from oprel.core import exceptions

NAMES = [name for name in oprel.__all__ if name != "__version__"]
SECOND_NAMES = {  # of errors: two are Ollama's
    "RequestError": oprel.ValidationError,
    "ResponseError": oprel.OprelError,
    "MemoryError": oprel.InsufficientMemoryError,
}
HEAVY = {"pydantic", "httpx", "yaml", "asyncio"}


def test_the_names_are_sorted_and_come_once() -> None:
    assert list(oprel.__all__) == sorted(set(oprel.__all__))
    assert dir(oprel) == sorted(oprel.__all__)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_can_be_imported_and_is_documented(name: str) -> None:
    member = getattr(oprel, name)
    assert import_module(member.__module__)
    drawn = f" {member.__name__} " in (
        exceptions.__doc__ or ""
    )  # errors are explained in the tree on top of their file
    assert member.__doc__ or drawn


def test_every_error_is_exported() -> None:
    errors = {cls.__name__ for cls in exceptions.error_classes().values()}
    assert errors == {name for name in oprel.__all__ if name.endswith("Error")} - SECOND_NAMES.keys()
    assert all(getattr(oprel, name) is cls for name, cls in SECOND_NAMES.items())


def test_another_name_is_an_ordinary_error() -> None:
    with pytest.raises(AttributeError, match="module 'oprel' has no attribute 'nonesuch'"):
        _ = oprel.nonesuch


def test_an_import_alone_loads_nothing_heavy() -> None:
    program = f"import sys, oprel; print(*sorted({HEAVY!r} & sys.modules.keys()))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == []


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(inspect.getsource(oprel))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module != "importlib"]
    names = [alias.asname or alias.name for node in imports if node.module != "typing" for alias in node.names]
    assert sorted(names) == NAMES
