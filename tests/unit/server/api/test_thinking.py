"""Every way to think × on, off and levels × streamed and whole × four dialects, with an engine that knows no marks."""

import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from pathlib import Path

import orjson
import pytest

from oprel.core.completion import Chunk, CompletionRequest
from oprel.server.api.common.ignored import IGNORED
from oprel.server.models.installed_model import InstalledModel
from tests.fixtures.dialects import DIALECTS
from tests.fixtures.memory_app import memory_client
from tests.fixtures.memory_engine import MemoryEngine
from tests.fixtures.pool import MakePool, header, installed
from tests.fixtures.thinking_templates import ANSWER, TEMPLATES, THOUGHT, Think, rendered, source

REQUESTED: tuple[Think, ...] = (True, False, "high")  # every level is tried in tests of the table


def thinking_model(name: str) -> InstalledModel:
    gguf = header()
    return installed(name, replace(gguf, metadata={**gguf.metadata, "tokenizer.chat_template": source(name)}))


@dataclass(eq=False, kw_only=True)
class ThinkingEngine(MemoryEngine):
    """Thinks unless its prompt says otherwise. Its words are pieces of three characters, which cut marks."""

    family: str = "qwen3"
    prompts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.log.append("srv init: chat template, thinking = 0")

    async def chunks(self, request: CompletionRequest) -> AsyncGenerator[Chunk, None]:
        prompt, row = await self.apply_template(request), TEMPLATES[self.family]
        self.prompts.append(prompt)
        is_off = request.think is False and row.prompts[False] in prompt
        self.words = re.findall(r"(?s).{1,3}", ANSWER if is_off else row.answer)
        async for chunk in super().chunks(request):
            delta = {"index": 0, "delta": {"content": chunk.text}, "finish_reason": None}
            yield replace(chunk, event=orjson.dumps({"choices": [delta]}) if chunk.event else b"")

    async def apply_template(self, request: CompletionRequest) -> str:
        assert isinstance(request.prompt, tuple)
        messages = [{"role": message.role, "content": message.content} for message in request.prompt]
        switch = {"enable_thinking": request.think is not False}
        return rendered(source(self.family), messages, **{**switch, **request.template_arguments})


@pytest.mark.parametrize("name", TEMPLATES)
async def test_a_model_thinks_as_requested(make_pool: MakePool, memory_folder: Path, name: str) -> None:
    engine, row = ThinkingEngine(family=name), TEMPLATES[name]
    faults = []
    async with memory_client(memory_folder, make_pool(engine), thinking_model(name)) as http:
        for dialect_name, dialect in DIALECTS.items():
            for think in REQUESTED:
                for stream in (False, True):
                    response = await dialect.ask(http, name, think, stream=stream)
                    assert response.status_code == 200, response.text
                    received = dialect.read(response, stream)
                    can, prompt = think not in row.unheeded, engine.prompts[-1]
                    thought = "" if think is False and can else THOUGHT
                    reported = dialect.field(think) in response.headers.get(IGNORED, "").split(", ")
                    checks = {
                        "prompt": row.prompts.get(think, "") in prompt,
                        "thoughts": received.thoughts == thought,
                        "text": received.text == ANSWER,
                        "reported": reported is not can,
                    }
                    faults += [
                        (dialect_name, think, stream, check, received)
                        for check, is_right in checks.items()
                        if not is_right
                    ]
    assert faults == []
