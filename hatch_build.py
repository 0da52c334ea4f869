"""The README as the package index shows it: its links lead into the repository that pyproject.toml names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class LinkedReadme(MetadataHookInterface):
    """Makes the relative links of README.md absolute."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the readme in the metadata of the package."""
        address = metadata["urls"]["Repository"]
        text = (Path(self.root) / "README.md").read_text("utf-8")
        linked = re.sub(r"\]\((?!https?:|#)", f"]({address}/blob/main/", text)
        metadata["readme"] = {"content-type": "text/markdown", "text": linked}
