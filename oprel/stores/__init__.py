"""Models of other programs on this machine: read in place, never modified or copied."""

from oprel.core.places import Places
from oprel.stores.base import Stores
from oprel.stores.folders import HubStore, LlamaCppStore, LmStudioStore
from oprel.stores.ollama import OllamaStore
from oprel.stores.seen import SeenStores


def stores_in(places: Places, seen: SeenStores | None = None) -> Stores:
    """The stores in the folders that `places` lists, of which `seen` records the models."""
    return Stores(
        [
            *map(OllamaStore, places.ollama),
            *map(HubStore, places.hub),
            *map(LmStudioStore, places.lm_studio),
            *map(LlamaCppStore, places.llama_cpp),
        ],
        seen or SeenStores(),
    )
