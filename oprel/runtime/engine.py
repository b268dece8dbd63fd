"""What an engine can be asked, and how it fails."""


class EngineRefused(Exception):
    """The engine answered with an error: `status` is HTTP's, `kind` the engine's own type of error.

    `prompt_tokens` is how long a prompt that did not fit is, where the engine said so.
    """

    def __init__(self, status: int, kind: str, message: str, prompt_tokens: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.prompt_tokens = prompt_tokens


class EngineLost(Exception):
    """The connection broke, or the answer ended without its terminator: the engine died or was killed."""


class NotRepeated(EngineLost):
    """The engine died, and the one after it answers otherwise than what was told already."""
