"""Secrets are not part of a repr: tracebacks and logs have it."""

import dataclasses
import importlib
import pkgutil
import re

import pytest

import oprel
from oprel.core.exceptions import ValidationError
from oprel.downloader.registry.logins import Login
from oprel.downloader.source import LARGEST_FILE, RemoteFile

SECRET = re.compile(r"password|secret|api_?key|credentials?|headers|(access|hf|bearer)_?token")


def dataclasses_of_oprel() -> set[type]:
    modules = [
        importlib.import_module(module.name)
        for module in pkgutil.walk_packages(oprel.__path__, "oprel.")
        if not module.name.endswith(("__main__", "._windows"))
    ]
    classes = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    return {one for one in classes if dataclasses.is_dataclass(one) and one.__module__.startswith("oprel.")}


def test_no_field_that_may_hold_a_secret_is_shown() -> None:
    shown = {
        f"{one.__qualname__}.{field.name}"
        for one in dataclasses_of_oprel()
        for field in dataclasses.fields(one)
        if SECRET.fullmatch(field.name) and field.repr
    }
    assert shown == {"RegistryReply.headers", "Operation.headers"}  # those of an answer, and of a description


def test_what_a_traceback_shows_has_no_token() -> None:
    file = RemoteFile(name="a", url="https://x/a", size_bytes=1, headers={"Authorization": "Bearer s3cret"})
    assert "s3cret" not in f"{file}{Login('user', 's3cret')}"


@pytest.mark.parametrize("size", [-1, LARGEST_FILE + 1, 2**63])
def test_a_size_that_no_file_has_is_refused(size: int) -> None:
    with pytest.raises(ValidationError, match="which no file has"):
        RemoteFile(name="a", url="https://x/a", size_bytes=size)
