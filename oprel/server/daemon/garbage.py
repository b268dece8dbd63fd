"""Garbage collection that keeps no request waiting.

A full collection walks all objects, and those of modules are most of them: 100,000, which takes a tenth of a second.
One of new objects takes some microseconds for each.
"""

import gc
import sys

# New objects that are looked at together; how often, until the survivors are; and how often those, until all are.
# Full collections are rare: with thousands of connections each takes 50 ms.
THRESHOLDS = 2000, 5, 200
OLDEST = 2  # the generation of objects that only full collections walk


class ModuleFreezer:
    """Has full collections pass over what modules consist of, also over those that are imported late."""

    def __init__(self) -> None:
        self._modules = 0
        self._has_new = False  # modules were imported before the last full collection, and may not have been complete

    def install(self) -> None:
        """From now on. All objects that exist are left alone: garbage among them too, which is little."""
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)
        self._modules = len(sys.modules)
        gc.callbacks.append(self._before)

    def _before(self, phase: str, details: dict[str, int]) -> None:
        if phase == "start" and details["generation"] == OLDEST:
            had_new, self._has_new = self._has_new, len(sys.modules) > self._modules
            if self._has_new or had_new:
                gc.freeze()
                self._modules = len(sys.modules)
