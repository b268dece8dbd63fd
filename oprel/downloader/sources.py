"""All sources of models behind one lookup by name."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import anyio.to_thread
import httpx

from oprel.core.config import Config
from oprel.core.exceptions import DownloadError, ModelNotFoundError, OprelError, UnsupportedError, ValidationError
from oprel.core.names import (
    OLLAMA_HOST,
    HubOrigin,
    ModelRef,
    NameKind,
    Origin,
    RegistryOrigin,
    UrlOrigin,
    hub_file,
    hub_origin,
    hub_page,
)
from oprel.downloader.aliases import Aliases
from oprel.downloader.backoff import Unreachable
from oprel.downloader.cache import HubCache
from oprel.downloader.hub import Hub
from oprel.downloader.network.failures import reason
from oprel.downloader.offers import Choose, NoSuchVariant, Offer, together, usual
from oprel.downloader.registry.client import Access
from oprel.downloader.registry.pull import Registries
from oprel.downloader.source import Source
from oprel.downloader.url import Urls
from oprel.utils.entry_points import load_plugins

GROUP = "oprel.sources"


@cache
def plugin_sources() -> Mapping[str, Source]:
    """Sources from installed packages, by the host in their models' names; none can replace Ollama's registry.

    Blocks to import those packages.
    """
    sources = {source.host.casefold(): source for source in load_plugins(GROUP, Source)}
    return {host: source for host, source in sources.items() if host != OLLAMA_HOST}


def likeliest(failures: Sequence[OprelError]) -> OprelError | None:
    """The likeliest of these causes of a failed search, in the order of the sources, with the others as its last steps.

    A source that has the model, but not so, comes before all others: a wrong quantization is likelier than a second
    source for it that cannot be reached.
    """
    first = sorted(failures, key=lambda failure: not isinstance(failure, NoSuchVariant | UnsupportedError))
    if len(first) < 2:
        return first[0] if first else None
    cause, *others = first
    merged = type(cause)(cause.message, *cause.resolution_steps, *(f"Also: {other.message}." for other in others))
    if isinstance(cause, Unreachable) and isinstance(merged, Unreachable):
        merged.seconds, merged.is_momentary = cause.seconds, cause.is_momentary
    return merged


class Sources:
    """`choose` picks the variant if the name does not; `serves_folders` is passed to `Hub`."""

    def __init__(
        self,
        config: Config,
        client: httpx.AsyncClient,
        choose: Choose = usual,
        serves_folders: Callable[[], bool] = lambda: False,
    ) -> None:
        self._offline = config.offline == "on"
        self.hub = Hub(config.hf_endpoint, HubCache(config.hub_dir), serves_folders=serves_folders)
        self._endpoint = config.hf_endpoint.rstrip("/")
        self._home = config.home_dir
        self._client, self._root = client, config.urls_dir
        self._registries = Registries(client, config.models_dir / "blobs", Access.of(config))
        urls = Urls(client, self._root, headers=self.hub.login_for)
        self._offers: dict[type, Callable[[Any], Awaitable[Offer]]] = {
            HubOrigin: lambda origin: self.hub.offer(origin, choose),
            RegistryOrigin: self._named,
            UrlOrigin: urls.offer,
        }

    async def find(self, ref: ModelRef, *, insecure: bool = False) -> Offer:
        """The first offer of the model. `insecure`: use http for registries.

        Raises ModelNotFoundError if no source has it, DownloadError, UnsupportedError: the likeliest cause, with the
        others in its steps.
        """
        self.check_online()
        aliases = await anyio.to_thread.run_sync(Aliases.load, self._home)
        failures: list[OprelError] = [error] if (error := aliases.missing_tag(ref)) else []
        for origin in self._origins(ref, aliases):
            if isinstance(origin, RegistryOrigin):
                origin = replace(origin, insecure=insecure)
            if ask := self._offers.get(type(origin)):
                try:
                    offer = await ask(origin)
                except (ModelNotFoundError, DownloadError, UnsupportedError) as error:
                    failures.append(error)
                    # A name with an owner may mean another model elsewhere: there, only "not found" leads on.
                    if "/" in ref.text and not isinstance(error, ModelNotFoundError):
                        break
                    continue
                if _is_short(ref, origin):
                    return replace(offer, name="", also=(*offer.also, *filter(None, [offer.name])))
                return offer
        raise likeliest(failures) or ModelNotFoundError(
            f"no source has {ref.text}", "Find models with `oprel search`, and name one as hf.co/ORG/REPO."
        )

    def _origins(self, ref: ModelRef, aliases: Aliases) -> Iterator[Origin]:
        """Where to look. A file or page of the hub is what it has by name; of other files there is the URL alone."""
        for origin in aliases.origins(ref):
            page = self._of_hub(origin.url, hub_page) if isinstance(origin, UrlOrigin) else None
            if isinstance(origin, UrlOrigin) and (file := self._of_hub(origin.url, hub_file)):
                yield file
            yield page or origin

    def _of_hub(self, url: str, name_of: Callable[[str], str]) -> HubOrigin | None:
        """What a URL below the hub's means if `name_of` knows its path."""
        start = f"{self._endpoint}/"
        name = name_of(url.removeprefix(start)) if url.startswith(start) else ""
        try:
            return hub_origin(ModelRef.parse(name)) if name else None
        except ValidationError:  # a file that no model can be named by
            return None

    async def _named(self, origin: RegistryOrigin) -> Offer:
        """The offer for a name with a host: from a package's source, else from a registry."""
        source = (await anyio.to_thread.run_sync(plugin_sources)).get(origin.host.casefold())
        if source is None:
            return await self._registries.offer(origin)
        try:
            files = await source.files(origin, self._client)
        except httpx.HTTPError as error:
            raise DownloadError(f"{origin.title} cannot be looked up: {reason(error)}", "Try again later.") from error
        if not files:
            raise ModelNotFoundError(f"{origin.host} has no {origin.repository}:{origin.tag}", "Check the name.")
        return together(origin.title, files, self._root)

    def check_online(self) -> None:
        """Raises DownloadError if the user has set `offline`."""
        if self._offline:
            raise DownloadError("oprel is offline and does not download or look up anything", "Set `offline` to off.")


def _is_short(ref: ModelRef, origin: Origin) -> bool:
    """Whether the name means that origin only through an alias, or has no owner: the model keeps the user's name."""
    is_of_hub = isinstance(origin, HubOrigin) and ref.kind is NameKind.NAME
    return is_of_hub and (origin != hub_origin(ref) or "/" not in ref.text)
