"""What one thing about oprel is: how it is asked for, and the answer."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Intent:
    """`wants` are what may stand in a frame ("How do I ...?"), `asks` whole questions. {m} is a model, {n} what stands
    for one where the question names none, and {v} a word drawn from `values`. `command` is what the answer must hold.
    Of an intent that is `trained` whole, no wording is kept out of training."""

    name: str
    command: str
    answer: str
    wants: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    share: float = 1.0
    trained: bool = False
    model: str = "./model.gguf"  # in the answer, where the question names none
