"""Everywhere that models come from, behind one question: who has the model of that name?"""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from oprel.core.config import Config
from oprel.core.exceptions import DownloadError, ModelNotFoundError
from oprel.core.names import HubOrigin, ModelRef, RegistryOrigin, UrlOrigin
from oprel.downloader.aliases import Aliases
from oprel.downloader.cache import URLS, HubCache
from oprel.downloader.hub import Hub
from oprel.downloader.offers import Choose, Offer, usual
from oprel.downloader.registry import Registries
from oprel.downloader.registry_http import Access
from oprel.downloader.url import Urls


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
        registries = Registries(client, config.models_dir / "blobs", Access.of(config))
        urls = Urls(client, config.hub_dir / URLS)
        self._asked: dict[type, Callable[[Any], Awaitable[Offer]]] = {
            HubOrigin: lambda origin: self.hub.offer(origin, choose),
            RegistryOrigin: registries.offer,
            UrlOrigin: urls.offer,
        }

    async def find(self, ref: ModelRef) -> Offer:
        """The first offer of that model. Raises ModelNotFoundError when nobody has it, DownloadError."""
        self.check_online()
        unknown: ModelNotFoundError | None = None
        for origin in Aliases.load(self._home).origins(ref):
            if ask := self._asked.get(type(origin)):
                try:
                    return await ask(origin)
                except ModelNotFoundError as error:
                    unknown = unknown or error
        raise unknown or ModelNotFoundError(
            f"nobody is known to have {ref.text}", "Models are found by `oprel search`; name one as hf.co/ORG/REPO."
        )

    def check_online(self) -> None:
        """Raises DownloadError where the user wants to stay offline."""
        if self._offline:
            raise DownloadError("oprel is offline, so nothing is downloaded or looked up", "Set `offline` to off.")
