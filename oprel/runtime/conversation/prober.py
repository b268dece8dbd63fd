"""Learns a template's traits by rendering small conversations."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from oprel.core.completion import CompletionRequest
from oprel.runtime.conversation import probes
from oprel.runtime.conversation.normalise import normalised, usual_role
from oprel.runtime.conversation.probes import Probe
from oprel.runtime.conversation.rendering import Opening, Rendering, opening, verdict
from oprel.runtime.conversation.texts import INVISIBLE
from oprel.runtime.conversation.tool_definitions import Definition
from oprel.runtime.conversation.traits import AS_IS, UNCLEAR, CallForm, IdForm, TemplateTraits
from oprel.runtime.engine import EngineRefused

Render = Callable[[CompletionRequest], Awaitable[str]]

THINKS = ("think", "reasoning")  # a template that keeps thoughts has one of these words
EXECUTING = "While executing"  # begins what llama-server says of a template, with status 500 where it knows the family
RENDERS_NOTHING = (404, 405, 501)  # statuses of engines that do not show their prompts
SWITCHES = ("/no_think", "/think", "/nothink")


@dataclass(frozen=True)
class ChatUse:
    """What a conversation uses of a template. Nothing else of the template is probed."""

    tools: bool = False
    calls: bool = False


def is_templates(refusal: EngineRefused) -> bool:
    """Whether the template may be the reason, not the state of the engine."""
    return refusal.status == 400 or (refusal.status == 500 and EXECUTING in refusal.message)


def use_of(request: CompletionRequest) -> ChatUse:
    assert isinstance(request.prompt, tuple)
    calls = any(message.tool_calls or usual_role(message.role) == "tool" for message in request.prompt)
    return ChatUse(bool(request.tools), calls or bool(request.tools))


class Prober:
    """Renders with one template. Raises EngineLost, and EngineRefused where the template is not the reason."""

    def __init__(self, render: Render, template: str) -> None:
        self._render = render
        self._template = template
        self._texts_alone: TemplateTraits | None = None
        self._opening = Opening()
        self._tools_in_prompt = 0  # how often the first prompt with tools names the first of them
        self._call_opening = 0  # characters between a user's text and the name of a call

    async def traits(self, use: ChatUse) -> TemplateTraits:
        """The template's traits, as far as conversations of that use depend on them."""
        self._texts_alone = traits = self._texts_alone or await self._of_texts()
        if traits.is_unclear:
            return traits
        if use.tools:
            prompt = await self._prompt(CompletionRequest((probes.U,), tools=probes.TOOLS))
            self._tools_in_prompt = (prompt or "").count(probes.NAMES[0])
            traits = await self._passing(traits, probes.DEFINITIONS, probes.TOOLS)
        if use.calls:
            traits = await self._with_rounds(traits, probes.TOOLS if use.tools else ())
        return traits

    async def _of_texts(self) -> TemplateTraits:
        base = CompletionRequest(probes.BASE)
        try:
            turns = await self._prompt(base)
        except EngineRefused as refusal:
            if refusal.status in RENDERS_NOTHING:
                return UNCLEAR
            raise
        if turns is None or verdict(turns, base, base) is not Rendering.COMPLETE:
            return UNCLEAR
        await self._learn_opening(turns)
        return await self._passing(AS_IS, self._texts(), ())

    def _texts(self) -> Sequence[Probe]:
        switches = any(word in self._template for word in SWITCHES)
        return [*probes.TEXTS, *(probes.SWITCHES if switches else ())]

    async def _with_rounds(self, traits: TemplateTraits, tools: Sequence[Definition]) -> TemplateTraits:
        thinks = any(word in self._template for word in THINKS)
        rows = [*probes.ROUNDS, *(probes.THOUGHTS if thinks else ())]
        first = CompletionRequest(rows[0].messages, tools=tuple(tools))
        self._call_opening = _opening_length(await self._prompt(first) or "", probes.U.content, probes.NAMES[0])
        traits = await self._passing(traits, rows, tools)
        if traits.calls is not CallForm.TEXT and await self._numbers_calls(traits, tools):
            traits = replace(traits, ids=IdForm.NUMBERED)
        return traits

    async def _passing(
        self, traits: TemplateTraits, rows: Sequence[Probe], tools: Sequence[Definition]
    ) -> TemplateTraits:
        for row in rows:
            traits = await self._best(traits, row, tools)
        return traits

    async def _best(self, traits: TemplateTraits, row: Probe, tools: Sequence[Definition]) -> TemplateTraits:
        """The traits with the first of the row's choices that renders it completely, or best."""
        best, reached = traits, Rendering.REFUSED
        for choice in row.choices:
            changes: dict[str, Any] = dict(choice)  # fields of TemplateTraits
            changed = replace(traits, **changes)
            judged = await self._verdict(changed, row, tools)
            if judged > reached:
                best, reached = changed, judged
            if judged is Rendering.COMPLETE:
                break
        return best

    async def _verdict(self, traits: TemplateTraits, row: Probe, tools: Sequence[Definition]) -> Rendering:
        request = CompletionRequest(row.messages, tools=tuple(row.tools or tools))
        passed = normalised(request, traits)
        prompt = await self._prompt(passed)
        if prompt is None:
            return Rendering.REFUSED
        judged = verdict(prompt, request, passed, thoughts=row.thoughts, opens=self._opening if row.opens else None)
        return min(judged, Rendering.MISPLACED) if self._is_off(prompt, row, traits) else judged

    def _is_off(self, prompt: str, row: Probe, traits: TemplateTraits) -> bool:
        """Whether the prompt breaks one of the row's further conditions."""
        is_repeated = row.tools_once and prompt.count(probes.NAMES[0]) > max(1, self._tools_in_prompt)
        is_cut = any(word not in prompt.replace(INVISIBLE, "") for word in row.words)
        is_even = traits.calls is CallForm.TEXT or (
            _opening_length(prompt, probes.U2.content, probes.NAMES[1]) >= self._call_opening
        )
        return is_repeated or is_cut or (row.even and not is_even)

    async def _numbers_calls(self, traits: TemplateTraits, tools: Sequence[Definition]) -> bool:
        """Whether the template gives calls ids of its own, but not results."""
        request = CompletionRequest(probes.ROUNDS[0].messages, tools=tuple(tools))
        prompt = await self._prompt(normalised(request, traits)) or ""
        return f"functions.{probes.NAMES[0]}:0" in prompt and probes.SHORT_IDS[0] in prompt

    async def _learn_opening(self, turns: str) -> None:
        user = await self._prompt(CompletionRequest((probes.U,)))
        users = await self._prompt(CompletionRequest((probes.U, probes.U2)))
        marks = [message.content for message in probes.BASE]
        self._opening = opening(user, users, turns, marks) if user and users else Opening()

    async def _prompt(self, request: CompletionRequest) -> str | None:
        """The rendered request; None if the template refuses it. Raises EngineRefused for another reason."""
        try:
            return await self._render(request)
        except EngineRefused as refusal:
            if is_templates(refusal):
                return None
            raise


def _opening_length(prompt: str, user: str, name: str) -> int:
    """How much is between a user's text and the name of a call, which opens the call."""
    return len(prompt.partition(user)[2].partition(name)[0].strip())
