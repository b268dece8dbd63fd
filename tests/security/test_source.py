"""T11, T12 and T14, as far as the source shows it: nothing is evaluated, unpickled or given to a shell."""

import ast
from pathlib import Path

import pytest

import oprel

PACKAGE = Path(oprel.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
# Calls that run what they are given.
NEVER = {
    *(
        "eval",
        "exec",
        "compile",
        "__import__",
        "os.system",
        "os.popen",
        "pickle.load",
        "pickle.loads",
        "pickle.Unpickler",
    ),
    *(
        "marshal.load",
        "marshal.loads",
        "shelve.open",
        "torch.load",
        "yaml.load",
        "yaml.unsafe_load",
        "subprocess.getoutput",
    ),
    *("subprocess.getstatusoutput", "asyncio.create_subprocess_shell", "tempfile.mktemp"),
}
SECRETS = ("hf_token", "access_token", "password", "secret", "api_key", "credentials", "authorization")
# Flags of engines: code of models, other machines, tools that run on this one, and sleep (CVE-2026-43631).
RISKY = ("--trust-remote-code", "--trust_remote_code", "--rpc", "--tools", "--sleep")
Nodes = dict[str, list[ast.AST]]


@pytest.fixture(scope="module")
def nodes() -> dict[str, list[ast.AST]]:
    """Of each module."""
    return {str(path.relative_to(PACKAGE)): list(ast.walk(ast.parse(path.read_text()))) for path in MODULES}


def dotted(node: ast.expr) -> str:
    """The name that is called, such as `os.system`."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return f"{dotted(node.value)}.{node.attr}"
        case _:
            return ""


def last_words(tree: ast.AST) -> set[str]:
    """Of names and attributes."""
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return names | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def test_nothing_is_evaluated_or_unpickled(nodes: Nodes) -> None:
    calls = [(name, dotted(node.func)) for name, of in nodes.items() for node in of if isinstance(node, ast.Call)]
    assert len(calls) > 5000
    assert [(name, call) for name, call in calls if call in NEVER] == []


def test_no_command_goes_through_a_shell(nodes: Nodes) -> None:
    keywords = [(name, node.arg) for name, of in nodes.items() for node in of if isinstance(node, ast.keyword)]
    assert [name for name, word in keywords if word == "shell"] == []


def test_no_engine_is_told_to_trust_code_or_to_listen_for_others(nodes: Nodes) -> None:
    texts = [
        (name, node.value)
        for name, of in nodes.items()
        for node in of
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    risky = [(name, text) for name, text in texts if text.startswith(RISKY)]
    assert risky == [("runtime/backends/launching.py", "--rpc")]  # with it in `engine_args` an engine needs the network


def test_no_secret_is_compared_by_its_characters(nodes: Nodes) -> None:
    """A comparison that ends at the first difference tells how much of a guess is right."""
    compared = [
        (name, ast.unparse(node))
        for name, of in nodes.items()
        for node in of
        if isinstance(node, ast.Compare) and any(isinstance(kind, ast.Eq | ast.NotEq) for kind in node.ops)
        if any(word.lower().endswith(SECRETS) for word in last_words(node))
    ]
    assert compared == []
