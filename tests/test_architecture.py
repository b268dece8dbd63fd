"""Rules about the source itself. The layers are in pyproject.toml; `lint-imports` checks them."""

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import oprel

ROOT = Path(oprel.__file__).parents[1]
PACKAGE = ROOT / "oprel"

MOST_ROOMS = 12  # modules and folders in one folder; the root has the public modules and a folder for each layer
LONGEST_FILE = 350
LONGEST_FILES = {"api_models.py": 470, "core/config.py": 400}  # tables
LONGEST_FUNCTION = 50

READS_ENVIRONMENT = {"core/config.py", "core/configuration/environment.py"}
PRINTS = {
    "cli/screen/render.py",
    "runtime/binaries/wheel.py",
}  # the second is a program of its own: it prints an engine's log
CREATES_TASKS = {
    "runtime/backends/embedding_batches.py",
    *("runtime/supervisor/child.py", "runtime/supervisor/process.py", "runtime/supervisor/watchdog.py"),
    *("server/daemon/run_files.py", "server/daemon/tls/certificates.py", "server/daemon/pipe_server.py"),
    "server/downloads/manager.py",
    *("server/pool/manager.py", "server/api/common/streaming_response.py"),
}
# The boundaries: main of the command, request handler, code of others. A file here says there why it must go on.
CATCHES_EVERYTHING = {
    "cli/main.py",
    "formats/readers.py",
    "server/api/common/streaming_response.py",
    "utils/entry_points.py",
}

# Only what makes engines knows their processes; only what shows engines knows their states.
MAKES_PROCESSES = {"server/pool/launcher.py"}
SHOWS_STATES = {"server/pool/engine_status.py", "server/api/oprel/monitoring/prometheus.py"}
# Words that said nothing to a newcomer. `subject` is a field in the JSON of `oprel doctor`.
OLD_WORDS = frozenset(
    "told heard found one asked known wishes anatomy comfort descend descents ladder launches life pulse vitals "
    "condemn absolve shelf shelves story question account room door doors stage fitting forms patience announced "
    "taken".split()
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def trees() -> dict[str, ast.Module]:
    """Syntax tree of each file of the package, by its path in it."""
    files = sorted(PACKAGE.rglob("*.py"))
    return {file.relative_to(PACKAGE).as_posix(): ast.parse(file.read_bytes()) for file in files}


def places(matches: Callable[[ast.AST], bool], *, but: set[str]) -> list[str]:
    """Where a node matches, outside the files of `but`."""
    return [
        f"oprel/{path}:{getattr(node, 'lineno', '?')}"
        for path, tree in trees().items()
        if path not in but
        for node in ast.walk(tree)
        if matches(node)
    ]


def calls(name: str) -> Callable[[ast.AST], bool]:
    """Matches `name(...)` and `anything.name(...)`."""

    def matches(node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and name in (getattr(node.func, "id", ""), getattr(node.func, "attr", ""))

    return matches


def names_environment(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module == "os" and any(alias.name in ("environ", "getenv") for alias in node.names)
    return isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "putenv")


def catches_everything(node: ast.AST) -> bool:
    """`except Exception`, alone or among others; and `except BaseException` that does not raise it again."""
    if not isinstance(node, ast.ExceptHandler):
        return False
    caught = {getattr(part, "id", None) for part in ast.walk(node.type)} if node.type else {"BaseException"}
    raises_again = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
    return "Exception" in caught or ("BaseException" in caught and not raises_again)


def test_environment_is_read_in_two_files() -> None:
    assert places(names_environment, but=READS_ENVIRONMENT) == []


def test_only_render_prints() -> None:
    assert places(lambda node: isinstance(node, ast.Name) and node.id == "print", but=PRINTS) == []


def test_tasks_are_created_in_named_places() -> None:
    assert places(calls("create_task"), but=CREATES_TASKS) == []
    assert places(calls("ensure_future"), but=set()) == []


def test_only_boundaries_catch_everything() -> None:
    assert places(catches_everything, but=CATCHES_EVERYTHING) == []


def test_files_are_short() -> None:
    lengths = {path: len((PACKAGE / path).read_text().splitlines()) for path in trees()}
    assert {path: n for path, n in lengths.items() if n > LONGEST_FILES.get(path, LONGEST_FILE)} == {}


def length(function: Function) -> int:
    """Lines from `def` to the end, without the docstring."""
    first = function.body[0]
    has_docstring = ast.get_docstring(function) is not None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if has_docstring else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def test_functions_are_short() -> None:
    def is_long(node: ast.AST) -> bool:
        return isinstance(node, Function) and length(node) > LONGEST_FUNCTION

    assert places(is_long, but=set()) == []


def module_name(path: str) -> str:
    """`client/base.py` -> `oprel.client.base`, `client/__init__.py` -> `oprel.client`."""
    return ".".join(["oprel", *Path(path).with_suffix("").parts]).removesuffix(".__init__")


def statements_at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when the module is imported: not those in functions, not those for type checkers."""
    for statement in body:
        if isinstance(statement, Function):
            continue
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            yield from statements_at_import(statement.orelse)
            continue
        yield statement
        for field in ("body", "orelse", "finalbody"):
            yield from statements_at_import(getattr(statement, field, []))
        for handler in getattr(statement, "handlers", []):
            yield from statements_at_import(handler.body)


def imported_modules(path: str, known: set[str]) -> set[str]:
    """Modules of oprel that the file imports at module level."""
    package = Path(path).parent.parts
    imported = set()
    for statement in statements_at_import(trees()[path].body):
        if isinstance(statement, ast.Import):
            imported |= {alias.name for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            above = ["oprel", *package][: len(package) + 2 - statement.level] if statement.level else []
            base = ".".join([*above, *filter(None, [statement.module])])
            names = {f"{base}.{alias.name}" for alias in statement.names}
            imported |= {name if name in known else base for name in names}
    return imported & known


def test_imports_have_no_cycle() -> None:
    known = {module_name(path) for path in trees()}
    graph = {module_name(path): imported_modules(path, known) for path in trees()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" <- ".join(error.args[1])) from None


def test_folders_are_small() -> None:
    rooms: dict[str, set[str]] = {}
    for path in map(Path, trees()):
        for inner, folder in zip([path, *path.parents], path.parents, strict=False):
            if folder != Path() and inner.name != "__init__.py":
                rooms.setdefault(folder.as_posix(), set()).add(inner.name)
    assert {folder: len(names) for folder, names in rooms.items() if len(names) > MOST_ROOMS} == {}


def class_names(node: ast.AST, outer: str = "") -> Iterator[str]:
    """The qualified names of all classes: `Message.ToolCall` for one in another."""
    for child in ast.iter_child_nodes(node):
        name = f"{outer}{child.name}" if isinstance(child, ast.ClassDef) else ""
        if name:
            yield name
        yield from class_names(child, f"{name}." if name else outer)


def test_a_class_name_has_one_meaning() -> None:
    classes = [name for tree in trees().values() for name in class_names(tree)]
    assert [name for name, count in Counter(classes).items() if count > 1] == []


def test_no_name_is_one_of_the_old_words() -> None:
    def is_old(node: ast.AST) -> bool:
        names = (getattr(node, field, None) for field in ("id", "arg", "attr", "name", "asname"))
        return any(isinstance(name, str) and name.strip("_").lower() in OLD_WORDS for name in names)

    assert places(is_old, but=set()) == []


def imports(name: str) -> Callable[[ast.AST], bool]:
    def matches(node: ast.AST) -> bool:
        return isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names)

    return matches


def test_only_runtime_knows_processes_and_acts_on_states() -> None:
    runtime = {path for path in trees() if path.startswith("runtime/")}
    assert places(imports("EngineProcess"), but=runtime | MAKES_PROCESSES) == []
    assert places(imports("EngineState"), but=runtime | SHOWS_STATES) == []
    assert places(imports("openai"), but=runtime) == []


def test_changelog_is_at_this_version() -> None:
    released = re.search(r"^## \[?(\d+\.\d+\.\d+[^\]\s]*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released, "CHANGELOG.md has no line like '## [1.2.3]'"
    assert released[1] == oprel.__version__


def test_public_names_are_sorted_and_exist() -> None:
    assert list(oprel.__all__) == sorted(oprel.__all__)
    assert [name for name in oprel.__all__ if not hasattr(oprel, name)] == []
