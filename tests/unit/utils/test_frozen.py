import copy
from typing import Any

import pytest

from oprel.utils.frozen import Frozen


class Pair(Frozen):
    left: int
    right: str = "b"


def test_a_record_has_its_values_and_defaults() -> None:
    pair = Pair(left=1)
    assert (pair.left, pair.right, repr(pair)) == (1, "b", "Pair(left=1, right='b')")


def test_records_with_the_same_values_are_equal() -> None:
    assert Pair(left=1) == Pair(left=1, right="b") == copy.copy(Pair(left=1))
    assert len({Pair(left=1), Pair(left=1, right="b"), Pair(left=2)}) == 2
    assert Pair(left=1) != (1, "b")


def test_a_copy_has_the_changes() -> None:
    pair = Pair(left=1, right="c")
    assert (pair.replace(left=2), pair) == (Pair(left=2, right="c"), Pair(left=1, right="c"))


@pytest.mark.parametrize(("values", "message"), [({}, "needs left"), ({"left": 1, "middle": 2}, "no field middle")])
def test_a_wrong_field_is_an_error(values: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Pair(**values)


def test_nothing_changes_a_record() -> None:
    pair = Pair(left=1)
    with pytest.raises(AttributeError, match="cannot assign to field 'left'"):
        setattr(pair, "left", 2)  # noqa: B010 - mypy forbids the assignment
    with pytest.raises(AttributeError, match="cannot delete field 'left'"):
        del pair.left
