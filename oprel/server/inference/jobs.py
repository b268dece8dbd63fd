"""A request for one model, and what it means for that model and its engine."""

import random
from dataclasses import dataclass, field, replace

from oprel.core.completion import CompletionRequest, LoadOptions, Sampling, Tokens
from oprel.core.settings import ModelSettings
from oprel.server.inference.structured_output.requests import resolved
from oprel.server.inference.thinking import with_thinking
from oprel.server.inference.truncation import prompt_length, rendered
from oprel.server.models.installed_model import InstalledModel
from oprel.server.pool.loaded_model import Lease


@dataclass(frozen=True)
class Job:
    """A request for one model, whatever dialect it came in. `keep_alive` in seconds."""

    model: InstalledModel
    request: CompletionRequest
    load: LoadOptions = field(default_factory=LoadOptions)
    keep_alive: float | None = None
    context: tuple[int, ...] | None = None  # Ollama's: tokens in front of the prompt; the answer's are wanted in turn


def resolved_job(job: Job, settings: ModelSettings) -> Job:
    """The job with what its request means for this model. Raises ValidationError."""
    request = _with_ends(with_thinking(resolved(job.request), job.model.thinking), job.model)
    return replace(job, request=_with_guard(request, settings))


async def prepared(job: Job, lease: Lease) -> CompletionRequest:
    """The request with Ollama's `context` in front of its prompt, and an end to its answer."""
    request, engine = job.request, lease.engine
    if job.context and not isinstance(request.prompt, Tokens):
        text = await rendered(engine, request)
        request = replace(request, prompt=Tokens((*job.context, text)))
    most = request.sampling.num_predict
    if most is None or most < 0:  # "until it stops", which for Ollama is ten contexts at most
        most = 10 * lease.loaded.num_ctx
    shifts = request.shift and request.n == 1  # llama-server shifts no answers that share a prompt
    if not (shifts or job.model.sees or lease.loaded.shares_cells):  # an engine with a projector never shifts
        most = min(most, max(1, lease.num_ctx - await prompt_length(engine, request)))
    sampling = replace(
        request.sampling,
        num_predict=most,
        repeat_last_n=_looks_back(request.sampling, lease.num_ctx),
        seed=_seed(request.sampling),
    )
    return replace(request, sampling=sampling, tell_tokens=_is_plain(job))


def _with_ends(request: CompletionRequest, model: InstalledModel) -> CompletionRequest:
    """With what ends an answer in the model's chats as further stops, whatever stops the request has."""
    if not isinstance(request.prompt, tuple) or not model.conventions.ends:
        return request
    stops = dict.fromkeys((*request.sampling.stop, *model.conventions.ends))
    return replace(request, sampling=replace(request.sampling, stop=tuple(stops)))


def _with_guard(request: CompletionRequest, settings: ModelSettings) -> CompletionRequest:
    """With `runaway_guard` on or off: as requested, else off with `ignore_eos`, else as configured."""
    wanted = request.sampling.runaway_guard
    if wanted is None:
        wanted = settings.runaway_guard == "on" and not request.sampling.ignore_eos
    return replace(request, sampling=replace(request.sampling, runaway_guard=wanted))


def _looks_back(sampling: Sampling, num_ctx: int) -> int | None:
    """`repeat_last_n` as the engine takes it; negative, it means the whole context."""
    return num_ctx if sampling.repeat_last_n is not None and sampling.repeat_last_n < 0 else sampling.repeat_last_n


def _seed(sampling: Sampling) -> int:
    """A seed of our own where none is given, so that an answer can be made again."""
    return sampling.seed if sampling.seed is not None and sampling.seed >= 0 else random.getrandbits(31)


def _is_plain(job: Job) -> bool:
    """True for a request whose answer is text and nothing else."""
    request = job.request
    silent = request.think is False or not isinstance(request.prompt, tuple) or "thinking" not in job.model.capabilities
    return silent and request.n == 1 and not request.tools and request.schema is None
