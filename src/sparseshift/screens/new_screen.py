"""conf/NAME for a person's own screen, from templates, after a look at the file."""

import json
import re
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from sparseshift.errors import ScreenError, SparseshiftError
from sparseshift.screens.check_labels import find_label_faults
from sparseshift.screens.columns import Columns, canonical
from sparseshift.screens.conventions.recognise import Proposal, recognise
from sparseshift.screens.doctor.contents import Contents, look
from sparseshift.screens.doctor.settings import Settings, annotation, propose
from sparseshift.screens.faults import raise_faults

YAML_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}  # no text in YAML


@dataclass(frozen=True)
class Written:
    """A configuration that was written.

    Attributes:
        files: Relative to the project.
        recognised: Why it is as it is, in words; empty where a person said it all.
    """

    files: list[Path]
    recognised: tuple[str, ...]


def write_configuration(
    project: Path, name: str, path: Path, columns: dict[str, Any], *, overwrite: bool = False
) -> Written:
    """Writes conf/NAME/catalog.yml and parameters.yml.

    Of the file only annotation and the head of each matrix are read, so that wrong column names are
    answered at once.

    Args:
        project: root of the project.
        name: of the screen and of the environment.
        path: h5ad file or zarr store.
        columns: fields of `screens.columns.Columns`; what is None or not there is recognised.
        overwrite: whether files there are replaced.

    Raises:
        SparseshiftError: a name Kedro cannot use, an existing configuration, no such file, columns
            the file does not have, or nothing in it that looks like labels.
    """
    check_place(project, name, overwrite=overwrite)
    contents = look(path)
    settings, recognised = _settings(contents, columns)
    return Written(write(project, name, contents, settings), recognised)


def check_place(project: Path, name: str, *, overwrite: bool) -> None:
    """Whether conf/NAME can be written.

    Raises:
        SparseshiftError: it cannot.
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


def write(project: Path, name: str, contents: Contents, settings: Settings) -> list[Path]:
    """Writes conf/NAME with these settings; the files, relative to the project."""
    folder = Path("conf") / name
    (project / folder).mkdir(exist_ok=True)
    texts = configuration(name, contents, settings)
    for file, text in texts.items():
        (project / folder / file).write_text(text, encoding="utf-8")
    return [folder / file for file in texts]


def configuration(name: str, contents: Contents, settings: Settings) -> dict[str, str]:
    """The texts of conf/NAME by file name."""
    columns, cut = settings.columns, settings.cut
    obs = annotation(contents, settings).obs
    labels = set(canonical(obs[columns.perturbation], columns.control)) - {columns.control, ""}
    fields = ("perturbation", "control", "batch", "layer", "symbol")
    values = {
        "name": name,
        "key": _yaml(name) if name in YAML_WORDS else name,
        "path": _yaml(str(contents.path.resolve())),
        "held_out": max(1, min(5, len(labels) // 4)) if len(labels) > 1 else 0,
        "cut": _cut(settings),
        **{field: _yaml(getattr(columns, field)) for field in fields},
    }
    return {
        "catalog.yml": _filled("catalog.yml" if cut is None else "catalog_cut.yml", values),
        "parameters.yml": _filled("parameters.yml", values),
    }


def _cut(settings: Settings) -> str:
    cut = settings.cut
    if cut is None:
        return ""
    values = {
        "column": cut.label_column,
        "controls": list(cut.labels.controls),
        "separator": cut.labels.separator,
        "pattern": cut.labels.pattern,
        "part": cut.labels.part,
        "drop": {column: list(labels) for column, labels in cut.drop.items()},
    }
    return _filled("cut.yml", {key: _yaml(value) for key, value in values.items()})


def _filled(template: str, values: dict[str, Any]) -> str:
    text = files("sparseshift.screens").joinpath("template", template).read_text(encoding="utf-8")
    return Template(text).substitute(values)


def _yaml(value: object) -> str:
    """JSON is YAML; so any label and any path can be written."""
    return json.dumps(value, ensure_ascii=False)


def _settings(contents: Contents, columns: dict[str, Any]) -> tuple[Settings, tuple[str, ...]]:
    """What a person said, and of what was not said the best proposal."""
    from sparseshift.screens.doctor.estimates import is_too_large  # lazy: it imports torch

    said = {key: value for key, value in columns.items() if value is not None}
    plain = {"perturbation", "control"} <= set(said)
    proposal = None if plain else _proposal(contents, said.get("perturbation"))
    if proposal is None:
        settings, reasons = Settings(Columns(**said)), tuple[str, ...]()
    else:
        found = propose(contents, proposal, too_large=is_too_large(contents))
        settings, reasons = _corrected(found, said), proposal.reasons
    _check(contents, settings)
    return settings, reasons


def _proposal(contents: Contents, column: str | None) -> Proposal | None:
    """The best one, or the best that reads a column."""
    found = recognise(contents.obs, contents.var)
    if column is not None:
        found = [proposal for proposal in found if proposal.column == column]
    elif not found:
        raise ScreenError(
            f"No column of obs in {contents.path} looks like labels of perturbations: "
            f"{', '.join(map(str, contents.obs.columns)) or 'there are none'}. Name it: --perturbation COLUMN."
        )
    return found[0] if found else None


def _corrected(settings: Settings, said: dict[str, Any]) -> Settings:
    """With the batch, layer and control that a person said."""
    given = {key: value for key, value in said.items() if key != "perturbation"}
    columns, cut = replace(settings.columns, **given), settings.cut
    name = columns.control
    if cut is not None and name is not None and name != cut.labels.control:
        cut = replace(cut, labels=replace(cut.labels, controls=(name,), control=name))
    if cut is not None:
        cut = replace(cut, layer=columns.layer)
    return replace(settings, columns=columns, cut=cut)


def _check(contents: Contents, settings: Settings) -> None:
    from anndata import AnnData

    given = annotation(contents, settings)
    raise_faults(find_label_faults(AnnData(obs=given.obs, var=given.var), settings.columns))
