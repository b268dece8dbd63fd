"""The types that a package needs to add a backend: requests, answers, errors, and the spec of an engine."""

from oprel.core.completion import (
    Chunk,
    CompletionRequest,
    Embeddings,
    Finish,
    LoadOptions,
    Logprob,
    Mode,
    Prompt,
    PromptMessage,
    Sampling,
    Scores,
    Tokens,
    ToolCall,
    Usage,
    joined,
)
from oprel.runtime.engine import EngineLost, EngineRefused, NotRepeated
from oprel.runtime.spec import EngineSpec, ModelFiles

__all__ = [
    "Chunk",
    "CompletionRequest",
    "Embeddings",
    "EngineLost",
    "EngineRefused",
    "EngineSpec",
    "Finish",
    "LoadOptions",
    "Logprob",
    "PromptMessage",
    "Mode",
    "NotRepeated",
    "ModelFiles",
    "Prompt",
    "Sampling",
    "Scores",
    "Tokens",
    "ToolCall",
    "Usage",
    "joined",
]
