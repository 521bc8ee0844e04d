"""What the rules ask of the data sets that a configuration names (`perturb.workflow`). Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from perturb.config import Config
from perturb.contents import Contents
from perturb.data import image_sizes, registry, variants
from perturb.errors import PerturbError
from perturb.files import read_json


class DataSets:
    """The data sets of a configuration, with the results folder as the rules' outputs have it.

    `writes` says whether hashes of folders may be kept there, which spare reading them again.
    """

    def __init__(
        self, config: Config, results: Path, writes: Callable[[], bool] = lambda: True
    ) -> None:
        self.config, self.results = config, results
        self.contents = Contents(results / "state" / "contents", writes)

    def file(self, path: str) -> str:
        """Return a path below the results folder as the rules name it."""
        return f"{self.results}/{path}"

    def dataset(self, name: str) -> str:
        """Return `name`; PerturbError where no data set, and no variant of one, is called so."""
        maps = self.config.values.get("class_maps", {})
        folders = self.config.values.get("image_folders", {})
        return registry.check_name(name, [*folders, *maps])

    def image_folder(self, dataset: str) -> str:
        """Return the folder of images that a data set is read from, "" for a built-in one."""
        base = self._class_map(dataset).get("dataset") or variants.base_name(dataset)
        return self.config.values.get("image_folders", {}).get(base, "")

    def image_side(self, dataset: str) -> int:
        """Return the side that a folder's images are brought to, 0 where they say it themselves."""
        return image_sizes.configured(self.config.values, variants.base_name(dataset))

    @property
    def folders_pattern(self) -> str:
        """Return the pattern of the data sets that are folders of images, variants too."""
        names = "|".join(re.escape(name) for name in self.config.values.get("image_folders", {}))
        keys = "|".join(variants.KEYS)
        return f"(?:{names})(?:_(?:{keys})-[^/]+)?" if names else "(?!)"

    def _class_map(self, dataset: str) -> dict[str, Any]:
        """Return of which data set this one has the classes, and their names; {} where of none."""
        return self.config.values.get("class_maps", {}).get(variants.base_name(dataset), {})

    def class_map(self, dataset: str) -> str:
        """Return the data set's class map as text, "" where it has none."""
        found = self._class_map(dataset)
        return json.dumps(found) if found else ""

    @lru_cache  # noqa: B019
    def content(self, dataset: str) -> str:
        """Return a hash of a folder of images: file by file, its path, size and content.

        "" for a built-in data set; after either stands the class map where there is one. A folder
        that is not there is taken for what it was when it was seen last: what was made from it
        stays usable. PerturbError for one that was never seen here: its path is wrong.
        """
        if mapped := self._class_map(dataset):
            return self.content(mapped["dataset"]) + self.class_map(dataset)
        named = self.image_folder(dataset)
        if not named:
            return ""
        folder = Path(named).expanduser()
        if not folder.is_dir() and (seen := self.contents.last(folder)):
            return seen
        read = registry.of_folder(dataset, folder)
        return self.contents.sha256(read.folder, read.files())

    def data_root(self, dataset: str) -> str:
        """Return the folder that a data set's official files are looked for in."""
        return str(registry.root_of(dataset, self.config.values["data_root"]))

    def allow_partial(self, dataset: str) -> bool:
        """Return whether a data set may be prepared from an incomplete copy.

        PerturbError where it has been, and today's configuration does not want it so.
        """
        if self.config.values.get("partial_data", False):
            return True
        manifest = self.results / "data" / f"{dataset}.manifest.json"
        if manifest.exists() and read_json(manifest)["partial"]:
            raise PerturbError(
                f"{manifest}: prepared from an incomplete copy of {dataset}, which partial_data: "
                f"false in the config does not want. Set partial_data: true, or delete "
                f"{manifest} and {self.file(f'data/{dataset}.npz')} to prepare the whole of it."
            )
        return False
