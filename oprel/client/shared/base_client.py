"""What `Client` and `AsyncClient` share: the daemon's address and httpx's arguments."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Generic, TypeVar

import httpx

from oprel.client.base import Address, Scheme, key_for
from oprel.client.connect import LOCAL_URL
from oprel.core.config import Config, load_config
from oprel.utils.process import forks

# Arguments of httpx's clients that configure its own transport.
TRANSPORT_ARGUMENTS = frozenset(("cert", "http1", "http2", "limits", "proxy", "trust_env", "verify"))

Headers = Mapping[str, str | None]
Timeout = httpx.Timeout | float | None

Http = TypeVar("Http", httpx.Client, httpx.AsyncClient)


class BaseClient(ABC, Generic[Http]):
    """`http` are arguments of httpx's client; a header that is None is not sent.

    The first request opens httpx's client; a forked child opens one of its own.
    """

    def __init__(
        self, host: str | None, config: Config | None, start: bool, headers: Headers | None, **http: Any
    ) -> None:
        self._given = host, config
        self._start = start
        self._http_given = http
        self._opened: Http | None = None
        self._opening = threading.Lock()
        forks.in_child(self, BaseClient._forget_parent)
        self._headers = {name: value for name, value in (headers or {}).items() if value is not None}

    @cached_property
    def config(self) -> Config:
        """Loaded on first use, so that importing oprel never fails because of a configuration."""
        return self._given[1] or load_config()

    @cached_property
    def address(self) -> Address:
        address = Address.at(self._given[0], self.config) if self._given[0] else Address.of(self.config)
        return address._replace(own=address.own and self._start)

    @abstractmethod
    def _open(self) -> Http:
        """A new httpx client."""

    @property
    def _http(self) -> Http:
        with self._opening:
            if self._opened is None:
                self._opened = self._open()
                forks.watch(self._opened)
            return self._opened

    def _release(self) -> Http | None:
        """The httpx client to close, if there is any; the next request opens a new one."""
        with self._opening:
            opened, self._opened = self._opened, None
            return opened

    def _forget_parent(self) -> None:
        self._opened, self._opening = None, threading.Lock()

    @property
    def _http_arguments(self) -> dict[str, Any]:
        url = self.address.target if self.address.scheme is Scheme.HTTP else LOCAL_URL
        return {"base_url": url, "headers": self._headers | self._key_header, **self._http_given}

    @property
    def _key_header(self) -> dict[str, str]:
        """Nothing if the caller gave a key of another kind."""
        if {"authorization", "x-api-key"} & {name.lower() for name in self._headers} or "auth" in self._http_given:
            return {}
        key = key_for(self.address, self.config)
        return {"Authorization": f"Bearer {key}"} if key else {}

    @property
    def _wants_httpx_transport(self) -> bool:
        """True if the caller gave arguments that only httpx's own transport supports."""
        return self.address.scheme is Scheme.HTTP and not TRANSPORT_ARGUMENTS.isdisjoint(self._http_given)
