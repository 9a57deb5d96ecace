"""conf/NAME for a person's own screen, from a template, after a look at the file."""

import json
import re
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import pandas as pd

from sparseshift.errors import ScreenError, SparseshiftError
from sparseshift.screens.check_labels import find_label_faults
from sparseshift.screens.columns import Columns, canonical
from sparseshift.screens.faults import raise_faults


def write_configuration(
    project: Path, name: str, path: Path, columns: dict[str, Any], *, overwrite: bool = False
) -> list[Path]:
    """Writes conf/NAME/catalog.yml and parameters.yml.

    Reads only obs of the file, so that wrong column names are answered at once.

    Args:
        project: root of the project.
        name: of the screen and of the environment.
        path: h5ad file or zarr store.
        columns: fields of `screens.columns.Columns`.
        overwrite: whether files there are replaced.

    Returns:
        The files written, relative to the project.

    Raises:
        SparseshiftError: a name Kedro cannot use, an existing configuration, no such file, or
            columns the file does not have.
    """
    folder = project / "conf" / name
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in {"base", "local", "test"}:
        raise SparseshiftError(
            f"{name!r} cannot be the name of a screen: use lower-case letters, digits and _, "
            "beginning with a letter, and not base, local or test."
        )
    if not (project / "conf" / "base").is_dir():
        raise SparseshiftError(f"{project} has no conf/base: run this in the project's folder.")
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise SparseshiftError(f"conf/{name} is there already. Take another name, or --force.")
    obs = read_obs(path)
    used = Columns(**columns)
    raise_faults(find_label_faults(_only_obs(obs), used))
    labels = set(canonical(obs[used.perturbation], used.control)) - {used.control}
    values = {
        "name": name,
        "path": json.dumps(str(path.resolve())),
        "held_out": max(1, min(5, len(labels) // 4)) if len(labels) > 1 else 0,
        **{key: json.dumps(value, ensure_ascii=False) for key, value in columns.items()},
    }
    folder.mkdir(exist_ok=True)
    written = []
    for file in ("catalog.yml", "parameters.yml"):
        template = files("sparseshift.screens").joinpath("template", file)
        text = Template(template.read_text(encoding="utf-8")).substitute(values)
        (folder / file).write_text(text, encoding="utf-8")
        written.append(Path("conf") / name / file)
    return written


def read_obs(path: Path) -> pd.DataFrame:
    """The obs table of an h5ad file or zarr store, without reading counts.

    Raises:
        ScreenError: there is no such file, or it is not AnnData.
    """
    import anndata
    import h5py
    import zarr

    if not path.exists():
        raise ScreenError(f"There is no file {path}.")
    try:
        if path.is_dir():
            return anndata.io.read_elem(zarr.open_group(path, mode="r")["obs"])
        with h5py.File(path, "r") as file:
            return anndata.io.read_elem(file["obs"])
    except (OSError, KeyError, ValueError) as error:
        raise ScreenError(
            f"{path} cannot be read as AnnData ({error}). Give an h5ad file or a zarr store "
            "written by anndata."
        ) from error


def _only_obs(obs: pd.DataFrame) -> Any:
    from anndata import AnnData

    return AnnData(obs=obs)
