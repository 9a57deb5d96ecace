"""Figures in the catalog as PNG, which can be loaded again as bytes to be put into a report."""

from pathlib import Path
from typing import Any, ClassVar

import matplotlib.pyplot as plt
from fsspec.implementations.local import LocalFileSystem
from kedro.io.core import DatasetError, get_filepath_str
from kedro_datasets.matplotlib import MatplotlibDataset
from matplotlib.figure import Figure

from sparseshift.datasets.atomic import replaced, sweep_versions


class FigureDataset(MatplotlibDataset):
    """One Matplotlib figure, saved as PNG and loaded as the PNG's bytes.

    Unlike its parent it can be loaded, a local save is atomic, and saving closes the saved figure
    alone, not every figure of the process.

    Example:
        ```yaml
        loss_curve:
          type: sparseshift.datasets.FigureDataset
          filepath: data/08_reporting/loss_curve.png
        ```
    """

    DEFAULT_SAVE_ARGS: ClassVar[dict[str, Any]] = {
        "dpi": 144,
        "bbox_inches": "tight",
        "format": "png",
    }

    def load(self) -> bytes:
        """Return the PNG file's bytes.

        Raises:
            DatasetError: If there is no such file.
        """
        path = get_filepath_str(self._get_load_path(), self._protocol)
        if not self._fs.isfile(path):
            raise DatasetError(f"There is no figure at {path}. Run the node that saves it.")
        with self._fs.open(path, "rb") as file:
            return file.read()

    def save(self, data: Figure | list[Figure] | dict[str, Figure]) -> None:
        """Write the figure as PNG and close it.

        Raises:
            DatasetError: If `data` is not one figure, or `save_args` ask for another format.
        """
        if not isinstance(data, Figure):
            raise DatasetError(
                f"{type(self).__name__} saves one figure, not a {type(data).__name__}. Give each "
                "figure its own catalog entry."
            )
        if self._save_args["format"] != "png":
            raise DatasetError(
                f"{type(self).__name__} saves png, not {self._save_args['format']!r}. Use "
                "matplotlib.MatplotlibDataset for other formats."
            )
        path = get_filepath_str(self._get_save_path(), self._protocol)
        if isinstance(self._fs, LocalFileSystem):
            if self._version:
                sweep_versions(Path(self._filepath).expanduser())
            with replaced(Path(path).expanduser()) as temporary:
                data.savefig(temporary, **self._save_args)
        else:
            self._save_to_fs(full_key_path=path, plot=data)
        plt.close(data)
        self._invalidate_cache()
