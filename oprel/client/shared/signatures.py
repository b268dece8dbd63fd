"""Shows the arguments that a method takes by a TypedDict."""

import inspect
import typing
from collections.abc import Callable
from typing import TypeVar

Method = TypeVar("Method", bound=Callable[..., object])


def spelled_out(method: Method) -> Method:
    """Show each argument of `**extras: Unpack[SomeTypedDict]` by itself, in `help()` and in notebooks.

    Editors read the source instead: there the overloads of a method spell its arguments out.
    """
    signature = inspect.signature(method)
    *named, extras = signature.parameters.values()
    (arguments,) = typing.get_args(extras.annotation)
    spread = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in arguments.__annotations__.items()
    ]
    method.__dict__["__signature__"] = signature.replace(parameters=[*named, *spread])
    return method
