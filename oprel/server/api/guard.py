"""Protects a daemon that trusts its machine from web pages that the user did not choose.

Two rules, as in Ollama: it refuses a request with a foreign Origin, and one whose Host names another machine
while the daemon listens on loopback only (a page can point its own domain at 127.0.0.1, "DNS rebinding").
"""

import ipaddress
import re
import socket
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oprel.core.config import Config
from oprel.server.access.caller import Policy
from oprel.server.access.identify import CALLER, identify, is_loopback
from oprel.server.access.keys import NOTHING
from oprel.server.api.common.errors import KEY_PROBLEM
from oprel.server.api.connections.request_limits import ALL_BODIES_BYTES
from oprel.server.api.connections.request_records import RequestRecords
from oprel.server.api.request_content import BODY, BODY_BYTES, DECODING, BodyBudget

LOCAL_ORIGINS = (
    *(
        f"{scheme}://{host}{port}"
        for scheme in ("http", "https")
        for host in ("localhost", "127.0.0.1", "0.0.0.0")
        for port in ("", ":*")
    ),
    *("app://*", "file://*", "tauri://*", "vscode-webview://*", "vscode-file://*"),
)
NO_HOST = re.compile(r"[^\w.:\[\]-]", re.ASCII)
LOCAL_SUFFIXES = (".localhost", ".local", ".internal")
ALLOWED_HEADERS = "Authorization, Content-Type, User-Agent, Accept, X-Requested-With"  # more when a preflight asks
EXPOSED_HEADERS = (  # pages may read no others
    "X-Oprel-Truncated, X-Oprel-Ignored, X-Oprel-Unparsed, X-Oprel-Missing-Prompt, Retry-After"
)
ALLOWED_METHODS = "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS"


class Guard:
    """ASGI middleware: 403 with an empty body for foreign requests, CORS headers for allowed origins."""

    def __init__(self, app: ASGIApp, config: Config, requests: RequestRecords | None = None) -> None:
        self._app = app
        self._requests = requests
        self._origins = (*LOCAL_ORIGINS, *(origin.strip() for origin in config.origins.split(",") if origin.strip()))
        self._checks_host = is_loopback(config.server_host)
        self._policy = Policy()
        self._most_bytes = config.max_body_mb * 2**20
        self._bodies = BodyBudget(max(ALL_BODIES_BYTES, 2 * self._most_bytes))
        self._decoding = anyio.CapacityLimiter(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if self._requests is None:
            return await self._guard(scope, receive, send)
        with self._requests.record(scope) as record:
            await self._guard(scope, receive, record.noting_status(send))

    async def _guard(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[BODY_BYTES], scope[DECODING] = self._most_bytes, self._decoding
        headers = Headers(scope=scope)
        origin, host = headers.get("origin"), headers.get("host", "")
        over_tcp = scope.get("client") is not None  # no page can reach the Unix socket
        stranger = self._checks_host and over_tcp and not is_own_host(host)
        if stranger or (origin and not self._allows(origin, host)):
            return await Response(status_code=403)(scope, receive, send)
        if not origin:
            return await self._serve(scope, receive, send)
        if scope["method"] == "OPTIONS":
            # OpenAI's and Anthropic's clients have a dozen headers of their own.
            allowed = {"Access-Control-Allow-Headers": headers.get("access-control-request-headers", ALLOWED_HEADERS)}
            return await Response(status_code=204, headers=_cors(origin) | allowed)(scope, receive, send)

        async def send_with_cors(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.lower().encode(), value.encode()) for name, value in _cors(origin).items()]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        await self._serve(scope, receive, send_with_cors)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        presented = self._requests.presented(scope) if self._requests else NOTHING
        scope[CALLER] = identify(scope, presented.key, self._policy)
        scope[KEY_PROBLEM] = presented.problem
        with self._bodies.body() as scope[BODY]:
            await self._app(scope, receive, send)

    def _allows(self, origin: str, host: str) -> bool:
        same = origin.partition("://")[2] == host
        return same or any(_matches(origin, pattern) for pattern in self._origins)


def is_own_host(header: str) -> bool:
    """True for a Host header that can only mean this machine or an address, not some site's name.

    >>> [is_own_host(host) for host in ("", "localhost:11435", "192.168.1.2", "[::1]:1", "evil.example", "8.8.8.8")]
    [True, True, True, True, False, False]
    """
    if NO_HOST.search(header):  # a URL around it could lead elsewhere, or have another path
        return False
    try:
        name = (urlsplit(f"//{header}").hostname or "").rstrip(".")
    except ValueError:  # no host at all, like "[::1"
        return False
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name in ("", "localhost", socket.gethostname().lower()) or name.endswith(LOCAL_SUFFIXES)
    return address.is_loopback or address.is_private or address.is_unspecified


def _matches(origin: str, pattern: str) -> bool:
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), origin) is not None


def _cors(origin: str) -> dict[str, str]:
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": ALLOWED_METHODS,
        "Access-Control-Allow-Headers": ALLOWED_HEADERS,
        "Access-Control-Expose-Headers": EXPOSED_HEADERS,
        "Vary": "Origin",
    }
