"""Chats of a given length, in the form that a server or an engine takes."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.figures import ENGINE, OPREL, OTHER
from benchmarks.load import NUMBER, Load, send
from benchmarks.models import BenchModel
from benchmarks.other_server import OtherServer
from benchmarks.processes import running_daemon

MESSAGES = [{"role": "user", "content": "How do I list my models?"}]
# Both sides go on to the last token, with the sampling of a request of Ollama without options.
SAMPLING = {"temperature": 0.8, "top_k": 40, "top_p": 0.9, "min_p": 0.0, "seed": NUMBER, "ignore_eos": True}


@dataclass(frozen=True)
class ChatServer:
    """What answers chats: a server of Ollama's API, or an engine alone if there is no `model`."""

    address: str
    model: str = ""

    def send(self, tokens: int, *, streams: int = 1, requests: int = 1) -> Load:
        """Answers of so many tokens. Raises LoadFailed."""
        if self.model:
            return send(self.address, "/api/chat", self._ollama(tokens), streams=streams, requests=requests)
        return send(self.address, "/v1/chat/completions", self._engine(tokens), streams=streams, requests=requests)

    def _ollama(self, tokens: int) -> dict[str, object]:
        options = {**SAMPLING, "num_predict": tokens}
        return {"model": self.model, "messages": MESSAGES, "stream": True, "think": False, "options": options}

    def _engine(self, tokens: int) -> dict[str, object]:
        template = {"enable_thinking": False}
        return {
            "messages": MESSAGES,
            "stream": True,
            "max_tokens": tokens,
            "chat_template_kwargs": template,
            **SAMPLING,
        }


@contextmanager
def chat_servers(bench: Bench, model: BenchModel) -> Iterator[dict[str, ChatServer]]:
    """The sides that answer with the model: daemons, oprel's own engine without its daemon, and the other server.

    The engine alone is the very process that the daemon asks: it has the same threads, slots, context and flags.
    """
    with ExitStack() as stack:
        servers = {}
        for side, checkout in bench.checkouts.items():
            daemon = stack.enter_context(running_daemon(checkout))
            engine = daemon.engine(model.name)
            servers[side] = ChatServer(daemon.address, model.name)
            if side == OPREL:
                servers[ENGINE] = ChatServer(engine.address)
        if bench.against:
            other = OtherServer(bench.against)
            servers[OTHER] = ChatServer(other.address, other.install(model))
        yield servers
