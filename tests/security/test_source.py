"""T11, T12 and T14, as far as the source shows it: nothing is evaluated, unpickled or given to a shell."""

import ast
from collections.abc import Iterator
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
SECRETS = ("hf_token", "access_token", "password", "secret", "api_key", "spec.key", "credentials", "authorization")


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def words(tree: ast.AST) -> Iterator[str]:
    """The last words of names and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            yield ast.unparse(node).rsplit(".", 1)[-1]


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    return {str(path.relative_to(PACKAGE)): ast.parse(path.read_text()) for path in MODULES}


def test_nothing_is_evaluated_or_unpickled(trees: dict[str, ast.Module]) -> None:
    found = [(name, ast.unparse(call.func)) for name, tree in trees.items() for call in calls(tree)]
    assert len(found) > 5000
    assert [(name, call) for name, call in found if call in NEVER] == []


def test_no_command_goes_through_a_shell(trees: dict[str, ast.Module]) -> None:
    keywords = [(name, word) for name, tree in trees.items() for call in calls(tree) for word in call.keywords]
    assert [name for name, word in keywords if word.arg == "shell"] == []


def test_no_engine_is_told_to_trust_code_or_to_listen_for_others(trees: dict[str, ast.Module]) -> None:
    texts = [
        (name, node.value)
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    risky = ("--trust-remote-code", "--trust_remote_code", "--rpc", "--enable-lora-adapter-loading", "--tools")
    assert [(name, text) for name, text in texts if text.startswith(risky)] == []


def test_no_secret_is_compared_by_its_characters(trees: dict[str, ast.Module]) -> None:
    """A comparison that ends at the first difference tells how much of a guess is right."""
    compared = [
        (name, ast.unparse(node))
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare) and any(isinstance(kind, ast.Eq | ast.NotEq) for kind in node.ops)
        if any(word.lower().endswith(SECRETS) for word in words(node))
    ]
    assert compared == []
