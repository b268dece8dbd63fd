"""Protects the daemon from web pages that the user did not choose, and says who sends a request.

It refuses a request with a foreign Origin, and one whose Host does not mean this machine (a page can point its own
domain at any address, "DNS rebinding"), on every address.
"""

import logging

import anyio
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oprel.core.config import Config
from oprel.core.configuration.addresses import parse_proxies
from oprel.server.access.caller import Policy
from oprel.server.access.hosts import matches, own_hosts
from oprel.server.access.identify import CALLER, identify
from oprel.server.access.keys import NOTHING
from oprel.server.api.common.errors import KEY_PROBLEM
from oprel.server.api.connections.request_limits import ALL_BODIES_BYTES
from oprel.server.api.connections.request_records import RequestRecords
from oprel.server.api.request_content import BODY, BODY_BYTES, DECODING, BodyBudget

logger = logging.getLogger(__name__)

LOCAL_ORIGINS = (
    *(
        f"{scheme}://{host}{port}"
        for scheme in ("http", "https")
        for host in ("localhost", "127.0.0.1", "0.0.0.0")
        for port in ("", ":*")
    ),
    *("app://*", "file://*", "tauri://*", "vscode-webview://*", "vscode-file://*"),
)
MOST_REPORTED = 20  # hosts that the log names
LONGEST_REPORTED = 253  # of a name in the DNS
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
        self._hosts = own_hosts(config.allowed_hosts, config.server_host)
        self._proxies = parse_proxies(config.trusted_proxies)
        self._policy = Policy(
            share_with_local_users=config.share_with_local_users == "on",
            allow_unauthenticated_lan=config.allow_unauthenticated_lan == "on",
        )
        self._reported = set[str]()
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
        origins, hosts = headers.getlist("origin"), self._hosts_in(scope, headers)
        if not self._is_for_us(scope, headers) or not all(self._allows(text, hosts) for text in origins if text):
            return await Response(status_code=403)(scope, receive, send)
        origin = next(filter(None, origins), "")
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
        scope[CALLER] = await identify(scope, presented.key, self._policy, self._proxies)
        scope[KEY_PROBLEM] = presented.problem
        with self._bodies.body() as scope[BODY]:
            await self._app(scope, receive, send)

    def _is_for_us(self, scope: Scope, headers: Headers) -> bool:
        if scope.get("client") is None:  # no page can reach the Unix socket
            return True
        local = scope["server"][0] if scope.get("server") else ""
        for host in self._hosts_in(scope, headers):
            if not self._hosts.has(host, local):
                self._report(host)
                return False
        return True

    def _hosts_in(self, scope: Scope, headers: Headers) -> list[str]:
        """What the client calls this machine; a trusted proxy also says what the client calls the proxy."""
        client = scope["client"][0] if scope.get("client") else ""
        by_proxy = headers.get("x-forwarded-host") if self._proxies.trusts(client) else None
        return [*(headers.getlist("host") or [""]), *([by_proxy] if by_proxy else [])]

    def _report(self, host: str) -> None:
        host = host.rpartition("@")[2]  # what is before it may be a password
        if host not in self._reported and len(self._reported) < MOST_REPORTED and len(host) <= LONGEST_REPORTED:
            self._reported.add(host)
            logger.warning("refused a request for the host %s: if that is this machine, name it in allowed_hosts", host)

    def _allows(self, origin: str, hosts: list[str]) -> bool:
        is_same = origin.partition("://")[2] in hosts
        return is_same or any(matches(origin, pattern) for pattern in self._origins)


def _cors(origin: str) -> dict[str, str]:
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": ALLOWED_METHODS,
        "Access-Control-Allow-Headers": ALLOWED_HEADERS,
        "Access-Control-Expose-Headers": EXPOSED_HEADERS,
        "Vary": "Origin",
    }
