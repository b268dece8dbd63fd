"""Hooks of the build: see `shared_files` and `project_addresses`. Only the standard library and hatchling are there."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

HELP_COLUMNS = "100"


class SharedFiles(BuildHookInterface):  # type: ignore[type-arg]
    """Adds a manual page and completions, which the command line itself describes."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        sys.path.insert(0, self.root)
        os.environ["COLUMNS"] = HELP_COLUMNS
        from tools.packaging.shared_files import shared_files

        self._folder = tempfile.TemporaryDirectory()
        for path, text in shared_files().items():
            file = Path(self._folder.name, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            build_data["shared_data"][str(file)] = path

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if self.target_name == "wheel":
            self._folder.cleanup()


class ProjectAddresses(MetadataHookInterface):
    """Fills in `project.urls`."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        sys.path.insert(0, self.root)
        from tools.packaging.project_addresses import project_addresses

        metadata["urls"] = project_addresses(Path(self.root))
