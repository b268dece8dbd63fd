"""Everywhere that models come from, behind one question: who has the model of that name?"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import anyio.to_thread
import httpx

from oprel.core.config import Config
from oprel.core.exceptions import DownloadError, ModelNotFoundError
from oprel.core.names import OLLAMA_HOST, HubOrigin, ModelRef, Origin, RegistryOrigin, UrlOrigin, hub_origin
from oprel.downloader.aliases import Aliases
from oprel.downloader.cache import URLS, HubCache
from oprel.downloader.connections import reason
from oprel.downloader.hub import Hub
from oprel.downloader.offers import Choose, Offer, together, usual
from oprel.downloader.registry import Registries
from oprel.downloader.registry_http import Access
from oprel.downloader.source import Source
from oprel.downloader.url import Urls
from oprel.utils.entry_points import load_plugins

GROUP = "oprel.sources"


@cache
def announced_sources() -> Mapping[str, Source]:
    """Those of installed packages, by the host in the names of their models; none replaces Ollama's registry.

    Blocks for the import of those packages.
    """
    found = {source.host.casefold(): source for source in load_plugins(GROUP, Source)}
    return {host: source for host, source in found.items() if host != OLLAMA_HOST}


class Sources:
    """`choose` takes the variant where a name does not say which; `serves_folders` is as of `Hub`."""

    def __init__(
        self,
        config: Config,
        client: httpx.AsyncClient,
        choose: Choose = usual,
        serves_folders: Callable[[], bool] = lambda: False,
    ) -> None:
        self._offline = config.offline == "on"
        self.hub = Hub(config.hf_endpoint, HubCache(config.hub_dir), serves_folders=serves_folders)
        self._home = config.home_dir
        self._client, self._root = client, config.hub_dir / URLS
        self._registries = Registries(client, config.models_dir / "blobs", Access.of(config))
        urls = Urls(client, self._root)
        self._asked: dict[type, Callable[[Any], Awaitable[Offer]]] = {
            HubOrigin: lambda origin: self.hub.offer(origin, choose),
            RegistryOrigin: self._named,
            UrlOrigin: urls.offer,
        }

    async def find(self, ref: ModelRef, *, insecure: bool = False) -> Offer:
        """The first offer of that model; registries are asked over http if that is `insecure`.

        Raises ModelNotFoundError when nobody has it, DownloadError.
        """
        self.check_online()
        unknown: ModelNotFoundError | None = None
        for origin in Aliases.load(self._home).origins(ref):
            if isinstance(origin, RegistryOrigin):
                origin = replace(origin, insecure=insecure)
            if ask := self._asked.get(type(origin)):
                try:
                    offer = await ask(origin)
                except ModelNotFoundError as error:
                    unknown = unknown or error
                    continue
                return replace(offer, name="") if _is_short(ref, origin) else offer
        raise unknown or ModelNotFoundError(
            f"nobody is known to have {ref.text}", "Models are found by `oprel search`; name one as hf.co/ORG/REPO."
        )

    async def _named(self, origin: RegistryOrigin) -> Offer:
        """Of a name with a host: a package's source has it, or a registry."""
        source = (await anyio.to_thread.run_sync(announced_sources)).get(origin.host.casefold())
        if source is None:
            return await self._registries.offer(origin)
        try:
            files = await source.files(origin, self._client)
        except httpx.HTTPError as error:
            raise DownloadError(f"{origin.title} cannot be asked for: {reason(error)}", "Try again later.") from error
        if not files:
            raise ModelNotFoundError(f"{origin.host} has no {origin.repository}:{origin.tag}", "Is the name right?")
        return together(origin.title, files, self._root)

    def check_online(self) -> None:
        """Raises DownloadError where the user wants to stay offline."""
        if self._offline:
            raise DownloadError("oprel is offline, so nothing is downloaded or looked up", "Set `offline` to off.")


def _is_short(ref: ModelRef, origin: Origin) -> bool:
    """Whether it takes an alias to see that origin in the name. Such names stay what the user calls the model."""
    return isinstance(origin, HubOrigin) and origin != hub_origin(ref)
