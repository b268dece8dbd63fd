"""Keeps a record of each request while it is served; at its end it is booked, counted and logged."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers
from starlette.types import Scope

from oprel.server.access.caller import Caller
from oprel.server.access.identify import CALLER
from oprel.server.access.keys import CallerKeys, PresentedKey
from oprel.server.access.record import CURRENT, RequestRecord
from oprel.server.history.metrics import Metrics
from oprel.server.history.request_log import RequestEntry, RequestLog


class RequestRecords:
    """Without a `log` nothing is logged."""

    def __init__(self, keys: CallerKeys, metrics: Metrics, log: RequestLog | None) -> None:
        self._keys = keys
        self._metrics = metrics
        self._log = log

    def presented(self, scope: Scope) -> PresentedKey:
        client = scope.get("client")
        return self._keys.check(Headers(scope=scope), client[0] if client else "")

    @contextmanager
    def record(self, scope: Scope) -> Iterator[RequestRecord]:
        """The record of a request that is served inside the block."""
        record, began = RequestRecord(), time.perf_counter()
        token = CURRENT.set(record)
        try:
            yield record
        finally:
            CURRENT.reset(token)
            self._end(scope, record, time.perf_counter() - began)

    def _end(self, scope: Scope, record: RequestRecord, seconds: float) -> None:
        caller: Caller | None = scope.get(CALLER)  # None for a request that no route may see
        key = caller.key if caller else None
        if key:
            self._keys.ledger.book(key.name, key.limits, record.tokens)
            self._metrics.key(key.name, record.status, record.tokens)
        if self._log:
            kind = caller.kind.name.lower() if caller and caller.kind and not key else "key" if key else "refused"
            client = scope.get("client")
            self._log.add(
                RequestEntry(
                    at=time.time() - seconds,
                    method=scope["method"],
                    path=scope["path"],
                    status=record.status,
                    ms=round(seconds * 1000, 1),
                    caller=kind,
                    address=caller.address if caller else client[0] if client else "",
                    key=key.name if key else "",
                    model=record.model,
                    prompt_tokens=record.prompt_tokens,
                    answer_tokens=record.answer_tokens,
                )
            )
