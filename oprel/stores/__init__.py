"""Models that other programs keep on this machine: read where they lie, never written, never copied."""

from oprel.core.places import Places
from oprel.stores.folders import HubStore, LlamaCppStore, LmStudioStore
from oprel.stores.found import Stores
from oprel.stores.ollama import OllamaStore


def stores_in(places: Places) -> Stores:
    """Those of the folders that `places` names."""
    return Stores(
        [
            *map(OllamaStore, places.ollama),
            *map(HubStore, places.hub),
            *map(LmStudioStore, places.lm_studio),
            *map(LlamaCppStore, places.llama_cpp),
        ]
    )
