"""Makes requests fit the chat template of one model, whose traits are probed once, when they are first needed."""

import asyncio

from oprel.core.completion import CompletionRequest
from oprel.runtime.conversation.normalise import normalised
from oprel.runtime.conversation.prober import Prober, Render, Use, use_of
from oprel.runtime.conversation.traits import PLAIN, TemplateTraits
from oprel.runtime.engine import EngineRefused

TEMPLATE_REFUSED = "template"  # as the `kind` of EngineRefused


class ConversationRules:
    """The rules of one template. `render` gets the prompt from the engine; `template` is the source, if available."""

    def __init__(self, render: Render, template: str) -> None:
        self._render = render
        self._prober = Prober(render, template)
        self._traits: dict[Use, TemplateTraits] = {}
        self._probing = asyncio.Lock()

    async def fit(self, request: CompletionRequest) -> CompletionRequest:
        """The request in the form that the template takes. Raises EngineLost."""
        if not isinstance(request.prompt, tuple):
            return request
        return normalised(request, await self._traits_for(use_of(request)))

    async def plain(self, request: CompletionRequest, refusal: EngineRefused) -> CompletionRequest:
        """The request in the plainest form, after the template refused the other one.

        Raises EngineRefused: `refusal` itself if it has another cause, or of the kind TEMPLATE_REFUSED.
        """
        if not isinstance(request.prompt, tuple) or not await self._refuses(await self.fit(request)):
            raise refusal
        plain = normalised(request, PLAIN)
        if await self._refuses(plain):
            raise EngineRefused(400, TEMPLATE_REFUSED, refusal.message) from refusal
        return plain

    async def _traits_for(self, use: Use) -> TemplateTraits:
        async with self._probing:
            if use not in self._traits:
                self._traits[use] = await self._prober.traits(use)
            return self._traits[use]

    async def _refuses(self, request: CompletionRequest) -> bool:
        try:
            await self._render(request)
        except EngineRefused:
            return True
        return False
