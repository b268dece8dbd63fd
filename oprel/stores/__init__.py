"""Models of other programs on this machine: read in place, never modified or copied."""

from oprel.core.places import Places
from oprel.stores.base import Stores
from oprel.stores.folders import HubStore, LlamaCppStore, LmStudioStore
from oprel.stores.ollama import OllamaStore


def stores_in(places: Places) -> Stores:
    """The stores in the folders that `places` lists."""
    return Stores(
        [
            *map(OllamaStore, places.ollama),
            *map(HubStore, places.hub),
            *map(LmStudioStore, places.lm_studio),
            *map(LlamaCppStore, places.llama_cpp),
        ]
    )
