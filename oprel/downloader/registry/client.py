"""A client for registries: OCI's distribution protocol with token authentication.

It uses https, except for registries on this machine and those that the user declares insecure, as with Docker: in the
settings, or for a single pull or push.
"""

import ipaddress
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlencode

import anyio.to_thread
import httpx

from oprel.core.config import Config
from oprel.core.exceptions import DownloadError, ValidationError
from oprel.core.names import DOCKER_HOSTS, OLLAMA_HOST, RegistryOrigin
from oprel.downloader.backoff import Unreachable, is_passing
from oprel.downloader.network.described import LOGIN_PAGE
from oprel.downloader.network.failures import is_unknown_host, reason
from oprel.downloader.network.retries import busy, patiently, unreachable
from oprel.downloader.registry.logins import Login, find_login
from oprel.formats.ollama_manifest import LONGEST_TEXT

TIMEOUT = httpx.Timeout(30.0)  # s for each step of a request
STORING = httpx.Timeout(30.0, read=600.0)  # s: a registry may copy the whole blob before it answers a PUT
LONGEST_COMPLAINT = 300  # characters
DOCKER_REGISTRY = "registry-1.docker.io"
Content = bytes | Callable[[], AsyncIterator[bytes]]  # of a request, in one piece or in pieces, from their start
_CHALLENGE = re.compile(r'(\w+)\s*=\s*(?:"([^"]*)"|([^\s",]+))|([\w-]+)')  # a parameter, or a scheme


@dataclass(frozen=True)
class Access:
    """How to access registries: `insecure` hosts over http, with the logins in these files of Docker and Podman.

    `ollama` is the address to use for Ollama's registry.
    """

    ollama: str = f"https://{OLLAMA_HOST}"
    insecure: frozenset[str] = frozenset()
    login_files: tuple[Path, ...] = ()

    @classmethod
    def of(cls, config: Config) -> "Access":
        hosts = (host.strip() for host in config.insecure_registries.split(","))
        return cls(config.ollama_registry, frozenset(filter(None, hosts)), config.places.logins)

    def base(self, origin: RegistryOrigin) -> httpx.URL:
        """The address of a repository. Raises ValidationError."""
        over_http = origin.insecure or origin.host in self.insecure or _is_this_machine(origin.host)
        host = DOCKER_REGISTRY if origin.host in DOCKER_HOSTS else origin.host
        address = f"{'http' if over_http else 'https'}://{host}"
        if origin.host == OLLAMA_HOST:
            address = self.ollama.rstrip("/")
        try:
            return httpx.URL(f"{address}/v2/{origin.repository}/")
        except httpx.InvalidURL as error:
            raise ValidationError(f"{origin.host!r} is not a registry address", "Write host or host:5000.") from error


USUAL_ACCESS = Access()


@dataclass(frozen=True)
class RegistryReply:
    """A complete answer; registry answers other than model files are small."""

    status: int
    headers: httpx.Headers
    content: bytes

    @property
    def is_success(self) -> bool:
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def is_page(self) -> bool:
        """Whether a web page was sent, such as the login page of a network."""
        return self.is_success and self.headers.get("content-type", "").lower().startswith("text/html")

    @property
    def complaint(self) -> str:
        """What the registry says is wrong, as ": TEXT"; "" if it says nothing."""
        try:
            return f": {json.loads(self.content)['errors'][0]['message']}"[:LONGEST_COMPLAINT]
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            return ""


class Registry:
    """Requests to one repository. `actions` is the scope of its token: "pull" or "pull,push"."""

    def __init__(
        self, origin: RegistryOrigin, client: httpx.AsyncClient, access: Access = USUAL_ACCESS, actions: str = "pull"
    ) -> None:
        self.origin = origin
        self.base = access.base(origin)
        self._client = client
        self._login_files = access.login_files
        self._scope = f"repository:{origin.repository}:{actions}"
        self.headers: dict[str, str] = {}  # authentication

    def url(self, path: str) -> httpx.URL:
        """The URL of `path` in the repository, or of an address from an answer."""
        return self.base.join(path)

    async def ask(
        self,
        method: str,
        url: httpx.URL,
        *,
        headers: Mapping[str, str] | None = None,
        content: Content | None = None,
        follow_redirects: bool = False,
        is_repeatable: bool = True,
    ) -> RegistryReply:
        """Send a request, authenticating if the registry requires it; one that is repeatable is sent again while the
        registry is busy. Raises DownloadError.
        """
        send = partial(self._answer, method, url, headers, content, follow_redirects, is_repeatable)
        answer = await send()
        if answer.status == HTTPStatus.UNAUTHORIZED:  # on the first request, and when a token has expired
            await self._identify(answer.headers.get("www-authenticate", ""))
            answer = await send()
        if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise self._refused(answer.status, answer.complaint)
        return answer

    async def _answer(
        self,
        method: str,
        url: httpx.URL,
        headers: Mapping[str, str] | None,
        content: Content | None,
        follow_redirects: bool,
        is_repeatable: bool,
    ) -> RegistryReply:
        send = partial(self._send, method, url, headers, content, follow_redirects)
        return await (patiently(partial(self._settled, send)) if is_repeatable else send())

    async def _settled(self, send: Callable[[], Awaitable[RegistryReply]]) -> RegistryReply:
        """Raises Unreachable for an answer that says nothing about the next one."""
        answer = await send()
        if is_passing(answer.status):
            status = f"HTTP {answer.status} for {self.origin.repository}{answer.complaint}"
            raise busy(f"the registry {self.origin.host} answered {status}", answer.status, answer.headers)
        return answer

    async def _send(
        self,
        method: str,
        url: httpx.URL,
        headers: Mapping[str, str] | None,
        content: Content | None,
        follow_redirects: bool,
    ) -> RegistryReply:
        own = self.headers if _host(url) == _host(self.base) else {}
        sent = {**own, **(headers or {})}
        body = content() if callable(content) else content
        timeout = STORING if method == "PUT" else TIMEOUT
        request = self._client.build_request(method, url, headers=sent, content=body, timeout=timeout)
        try:
            response = await self._client.send(request, stream=True, follow_redirects=follow_redirects)
            try:
                self._check_redirects(response)
                content = _without_token(await _read(response), request)
                return RegistryReply(response.status_code, response.headers, content)
            finally:
                await response.aclose()
        except (httpx.TooManyRedirects, httpx.InvalidURL) as error:
            raise DownloadError(f"the registry {self.origin.host} redirects to nowhere: {reason(error)}") from error
        except httpx.TransportError as error:
            steps = ["Check the name and the network. `oprel list` shows the installed models."]
            if self.base.scheme == "https" and not is_unknown_host(error):
                steps.append(f"If it has no encryption: --insecure, or `insecure_registries: {self.origin.host}`.")
            message = f"the registry {self.origin.host} cannot be reached: {reason(error)}"
            raise unreachable(message, error, *steps) from error

    def _check_redirects(self, response: httpx.Response) -> None:
        """Raises DownloadError for a redirect from https to http."""
        urls = [answer.url for answer in (*response.history, response)]
        if urls[0].scheme == "https" and (plain := [url for url in urls if url.scheme != "https"]):
            raise DownloadError(
                f"the registry {self.origin.host} redirects to {plain[0].host} without encryption", fault="security"
            )

    async def _identify(self, challenge: str) -> None:
        """Authenticate as the challenge requires: with name and password, or with a token from another server."""
        login = await anyio.to_thread.run_sync(
            find_login, self._login_files, self.origin.host, self.origin.repository, abandon_on_cancel=True
        )
        demands = read_challenge(challenge)
        if "bearer" in demands:
            self.headers["Authorization"] = f"Bearer {await self._token(demands['bearer'], login)}"
        elif "basic" in demands and login and login.password:
            self.headers["Authorization"] = login.header
        else:
            raise self._refused(HTTPStatus.UNAUTHORIZED)

    async def _token(self, challenge: Mapping[str, str], login: Login | None) -> str:
        try:
            realm = httpx.URL(challenge["realm"])
        except (KeyError, httpx.InvalidURL):
            raise DownloadError(f"the registry {self.origin.host} does not name its token server") from None
        if realm.scheme != "https" and _host(realm) != _host(self.base):
            raise DownloadError(
                f"the registry {self.origin.host} needs a token from {realm.host} without encryption", fault="security"
            )
        service, scopes = challenge.get("service", ""), (challenge.get("scope") or self._scope).split()
        if login and login.identity:
            answer = await self._exchanged(realm, service, scopes, login.identity)
        else:
            headers = {"Authorization": login.header} if login else {}
            url = realm.copy_merge_params({"service": service, "scope": scopes})
            answer = await self._answer("GET", url, headers, None, True, True)
        if answer.is_page:
            raise Unreachable(f"{realm.host} answered with a web page instead of a token", LOGIN_PAGE)
        try:
            reply = json.loads(answer.content)
            return str(reply.get("token") or reply["access_token"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise self._refused(answer.status) from None

    async def _exchanged(self, realm: httpx.URL, service: str, scopes: Sequence[str], identity: str) -> RegistryReply:
        """The answer to an identity token: distribution.github.io, "Token Authentication with OAuth"."""
        form = {"grant_type": "refresh_token", "client_id": "oprel", "refresh_token": identity}
        content = urlencode({**form, "service": service, "scope": " ".join(scopes)}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return await self._answer("POST", realm, headers, content, False, True)

    def _refused(self, status: int, complaint: str = "") -> DownloadError:
        return DownloadError(
            f"the registry {self.origin.host} refuses access to {self.origin.repository} (HTTP {status}{complaint})",
            f"Check the name. For a private model run `docker login {self.origin.host}`; oprel uses that login.",
            fault="authentication",
        )


def read_challenge(text: str) -> Mapping[str, Mapping[str, str]]:
    """What a registry demands by `WWW-Authenticate`: the parameters of each scheme. One may offer several.

    >>> read_challenge('Basic realm="x, y", Bearer realm=https://a.b/t,scope="repository:a:delete,pull,push"')
    {'basic': {'realm': 'x, y'}, 'bearer': {'realm': 'https://a.b/t', 'scope': 'repository:a:delete,pull,push'}}
    """
    demands: dict[str, dict[str, str]] = {}
    parameters: dict[str, str] = {}
    for name, quoted, plain, scheme in _CHALLENGE.findall(text):
        if scheme:
            parameters = demands.setdefault(scheme.lower(), {})
        else:
            parameters[name.lower()] = quoted or plain
    return demands


def _without_token(content: bytes, request: httpx.Request) -> bytes:
    """An answer that repeats the token which it was asked with: errors and logs quote answers."""
    token = request.headers.get("authorization", "").partition(" ")[2]
    return content.replace(token.encode(), b"***") if token else content


async def _read(response: httpx.Response) -> bytes:
    content = b""
    async for piece in response.aiter_bytes():
        content += piece
        if len(content) > LONGEST_TEXT:
            raise DownloadError(f"{response.url.host} sends more than {LONGEST_TEXT} bytes for a small answer")
    return content


def _host(url: httpx.URL) -> tuple[str, bytes]:
    return url.scheme, url.netloc


def _is_this_machine(host: str) -> bool:
    name = httpx.URL(f"http://{host}").host if host.count(":") <= 1 else host
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
