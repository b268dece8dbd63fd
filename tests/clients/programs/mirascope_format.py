"""mirascope's `format`: a forced tool. Prints the name and the age that it read. Run by an environment that has it."""

import sys

from mirascope import llm  # type: ignore[import-not-found]
from pydantic import BaseModel


class Person(BaseModel):
    name: str
    age: int


@llm.call("ollama/guide", format=Person)
def person(text: str) -> str:
    return text


if __name__ == "__main__":
    read = person("Bob is 42").parse()
    sys.stdout.write(f"{isinstance(read.name, str)} {isinstance(read.age, int)}\n")
