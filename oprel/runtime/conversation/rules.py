"""Makes requests fit the chat template of one model, whose traits are probed once, when they are first needed."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from oprel.core.completion import CompletionRequest
from oprel.runtime.conversation.normalise import normalised
from oprel.runtime.conversation.prober import ChatUse, Prober, Render, is_templates, use_of
from oprel.runtime.conversation.probes import U as USER
from oprel.runtime.conversation.traits import PLAIN, TemplateTraits
from oprel.runtime.engine import EngineRefused

# What to pass in place of a level of thinking that the template refuses, best first.
LEVELS: Mapping[str, tuple[str, ...]] = {
    "low": ("low", "medium", "high"),
    "medium": ("medium", "high", "low"),
    "high": ("high", "xhigh", "max", "medium", "low"),
    "max": ("max", "xhigh", "high", "medium", "low"),
}

SIMPLEST = CompletionRequest((USER,))

TEMPLATE_REFUSED = "template"  # as the `kind` of EngineRefused


@dataclass
class TemplateRecord:
    """A template, if its source is available, and what it was seen to do."""

    source: str = ""
    traits: dict[ChatUse, TemplateTraits] = field(default_factory=dict)
    levels: dict[str, str | bool] = field(default_factory=dict)  # of thinking: what is passed in place of each


class ConversationRules:
    """Fits requests to one template. `render` gets the prompt from an engine; `record` gets what is probed."""

    def __init__(self, render: Render, record: TemplateRecord) -> None:
        self._render = render
        self._record = record
        self._prober = Prober(render, record.source)
        self._probing = asyncio.Lock()

    async def fit(self, request: CompletionRequest) -> CompletionRequest:
        """The request in the form that the template takes. Raises EngineLost or EngineRefused."""
        if not isinstance(request.prompt, tuple):
            return request
        async with self._probing:
            traits = await self._traits(use_of(request))
            think = await self._level(request.think) if isinstance(request.think, str) else request.think
        return normalised(request if think == request.think else replace(request, think=think), traits)

    async def plain(self, request: CompletionRequest, refusal: EngineRefused) -> CompletionRequest:
        """The request in the plainest form, after the template refused the other one.

        Raises EngineRefused: `refusal` itself if it has another cause, or of the kind TEMPLATE_REFUSED.
        """
        if not isinstance(request.prompt, tuple):
            raise refusal
        fitted = await self.fit(request)
        if not await self._refuses(fitted):
            raise refusal
        plain = normalised(replace(request, think=fitted.think), PLAIN)
        if not await self._refuses(plain):
            return plain
        if await self._refuses(SIMPLEST):  # the engine refuses everything
            raise refusal
        why = refusal.message.rpartition("Error: ")[2].removeprefix("Jinja Exception: ")
        raise EngineRefused(400, TEMPLATE_REFUSED, why) from refusal

    async def _traits(self, use: ChatUse) -> TemplateTraits:
        if use not in self._record.traits:
            self._record.traits[use] = await self._prober.traits(use)
        return self._record.traits[use]

    async def _level(self, level: str) -> str | bool:
        """The level of thinking, or the nearest that the template takes; plain thinking if it takes none."""
        levels = self._record.levels
        if level not in levels:
            levels[level] = True
            for other in LEVELS.get(level, (level,)):
                if not await self._refuses(replace(SIMPLEST, think=other)):
                    levels[level] = other
                    break
        return levels[level]

    async def _refuses(self, request: CompletionRequest) -> bool:
        try:
            await self._render(request)
        except EngineRefused as refusal:
            return is_templates(refusal)
        return False
