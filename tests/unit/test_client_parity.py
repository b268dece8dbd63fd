"""`Client` and `AsyncClient` are written twice; here is what keeps them equal."""

import inspect
import typing
from collections.abc import Callable

import pytest

import oprel
from oprel import AsyncClient, Client

OF_A_CLIENT_ONLY = {"close", "engines", "health"}  # no functions of the module


def methods(cls: type) -> dict[str, Callable[..., object]]:
    members = inspect.getmembers(cls, inspect.isfunction)
    return {name: method for name, method in members if not name.startswith("_")}


def parameters(method: Callable[..., object]) -> list[inspect.Parameter]:
    return list(inspect.signature(method).parameters.values())


def public(cls: type) -> list[str]:
    return [name for name in dir(cls) if not name.startswith("_")]


def test_both_clients_have_the_same_names() -> None:
    assert public(Client) == public(AsyncClient)


@pytest.mark.parametrize("name", methods(Client))
def test_a_method_takes_and_says_the_same_in_both(name: str) -> None:
    one, other = methods(Client)[name], methods(AsyncClient)[name]
    assert parameters(one) == parameters(other)
    assert one.__doc__ == other.__doc__ is not None
    assert inspect.iscoroutinefunction(other)


@pytest.mark.parametrize("name", methods(Client))
def test_a_methods_overloads_are_the_same_in_both(name: str) -> None:
    one, other = (typing.get_overloads(methods(cls)[name]) for cls in (Client, AsyncClient))
    assert [parameters(overload) for overload in one] == [parameters(overload) for overload in other]
    assert bool(one) == ("stream" in inspect.signature(methods(Client)[name]).parameters)


@pytest.mark.parametrize("cls", [Client, AsyncClient])
def test_overloads_are_told_apart_by_stream_alone(cls: type) -> None:
    for name in ("generate", "chat"):
        method = methods(cls)[name]
        for overload in typing.get_overloads(method):
            given = [(parameter.name, parameter.kind) for parameter in parameters(overload)]
            assert given == [(parameter.name, parameter.kind) for parameter in parameters(method)]


def test_the_modules_functions_are_a_clients_methods() -> None:
    functions = {name for name in oprel.__all__ if inspect.ismethod(getattr(oprel, name))}
    assert functions == methods(Client).keys() - OF_A_CLIENT_ONLY
    assert all(getattr(oprel, name).__func__ is methods(Client)[name] for name in functions)
    assert len({id(getattr(oprel, name).__self__) for name in functions}) == 1
