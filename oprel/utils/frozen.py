"""Immutable records that cost nothing to define, for what every command of the command line imports.

Frozen dataclasses are the rule elsewhere. `dataclasses` takes as long to import as the interpreter takes to start, and
then about a millisecond for each class.
"""

from typing import Any, ClassVar, Self, dataclass_transform


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Frozen:
    """A subclass declares its fields with annotations, like a dataclass; those without a default must be given."""

    _names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        cls._names = tuple(name for name in cls.__annotations__ if not name.startswith("_"))

    def __init__(self, **values: Any) -> None:
        if unknown := values.keys() - {*self._names}:
            raise TypeError(f"{type(self).__name__} has no field {', '.join(sorted(unknown))}")
        if missing := [name for name in self._names if name not in values and not hasattr(type(self), name)]:
            raise TypeError(f"{type(self).__name__} needs {', '.join(missing)}")
        vars(self).update({name: values.get(name, getattr(type(self), name, None)) for name in self._names})
        self.__post_init__()

    def __post_init__(self) -> None:
        """May change `vars(self)`."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of the fields."""
        return cls._names

    def replace(self, **changes: Any) -> Self:
        """A copy with other values. Raises TypeError for an unknown field."""
        return type(self)(**{**vars(self), **changes})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"
