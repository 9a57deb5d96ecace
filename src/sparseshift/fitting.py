"""From an AnnData and keywords to fitted models: checks, tensors, networks, training."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sparseshift.data.cell_store import CellStore
from sparseshift.data.design import Design
from sparseshift.data.placement import check_storage, place
from sparseshift.errors import OptionError, ScreenError, require_whole
from sparseshift.fitted_model import FittedModel
from sparseshift.models.build import build_model
from sparseshift.models.options import Options
from sparseshift.presets import build_options, get_preset
from sparseshift.screens.cells import read_labels, read_perturbations, to_cells
from sparseshift.screens.check import check_screen
from sparseshift.screens.columns import Columns
from sparseshift.specification import Specification
from sparseshift.training.config import TrainingConfig
from sparseshift.training.identity import fit_identity
from sparseshift.training.phase import Member
from sparseshift.training.recipes import follow

if TYPE_CHECKING:
    from anndata import AnnData

logger = logging.getLogger(__name__)

_TRAINING_OPTIONS = tuple(f.name for f in fields(TrainingConfig))


@dataclass(frozen=True)
class Keywords:
    """The keywords of `sparseshift.fit`, as they come; see there."""

    perturbation: str
    control: str | None = None
    batch: str | None = None
    layer: str | None = None
    n_latents: int = 15
    max_epochs: int | None = None
    batch_size: int | None = None
    validation_fraction: float | None = None
    warm_start: str | None = "auto"
    device: str = "auto"
    storage: str = "auto"
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> Columns:
        """Of the screen."""
        return Columns(self.perturbation, self.control, self.batch, self.layer)

    @property
    def all_options(self) -> dict[str, Any]:
        """Options, and the keywords that are options of training, where given."""
        named = {
            name: getattr(self, name)
            for name in ("max_epochs", "batch_size", "validation_fraction")
        }
        return self.options | {name: value for name, value in named.items() if value is not None}


def fit_members(
    adata: AnnData,
    preset: str,
    keywords: Keywords,
    seeds: Sequence[int],
    checkpoints: str | Path | None,
) -> list[FittedModel]:
    """Fits a model for every seed, several as one batched model.

    Args:
        adata: the screen.
        preset: a VAE by name.
        keywords: as given.
        seeds: one a model.
        checkpoints: folder of states, for a single seed.

    Raises:
        ScreenError, OptionError, TrainingError: as `sparseshift.fit`.
    """
    options, training = split_options(preset, keywords.all_options)
    columns = keywords.columns
    recipe = choose_recipe(preset, options, keywords.warm_start)
    n_latents = require_whole("n_latents", keywords.n_latents, 1)
    check_storage(keywords.storage)
    device = resolve_device(keywords.device)
    check_screen(adata, columns)
    labels = read_perturbations(adata, columns)
    anchor = columns.control if options.anchor_control else None
    design = Design.of_labels(labels.tolist(), anchor, additive=options.additive)
    genes = tuple(map(str, adata.var_names))
    batch = columns.batch
    batches = () if batch is None else tuple(sorted(set(read_labels(adata, batch).tolist())))
    store, _ = to_cells(adata, columns, genes, design, batches, storage=keywords.storage)
    cells = place(store, device, keywords.storage)
    members = [
        _member(options, training, design, cells, len(batches), n_latents, s) for s in seeds
    ]
    logger.info(
        "Fitting %s: %d cells, %d genes, %d perturbations, %d latents, seed %s, %s",
        preset, members[0].train.n_cells, len(genes), len(design.perturbations), n_latents,
        ", ".join(map(str, seeds)), device,
    )  # fmt: skip
    specs = [
        Specification(
            preset=preset,
            recipe=recipe,
            options=options,
            training=training,
            columns=columns,
            design=design,
            trained=design.perturbations,
            genes=genes,
            batches=batches,
            n_latents=n_latents,
            seed=seed,
        )
        for seed in seeds
    ]
    directory = None
    if checkpoints is not None:
        identity = fit_identity({**asdict(specs[0]), "device": str(device)}, store.tensors())
        directory = Path(checkpoints) / identity
    histories = follow(recipe, members, training, directory)
    for history in histories:
        if not history.edges_converged:
            logger.warning(
                "%s: the number of edges still moved at the end (%d). Give it more steps.",
                preset, history.records[-1].n_edges,
            )  # fmt: skip
    return [
        FittedModel(spec, member.model.eval(), history)
        for spec, member, history in zip(specs, members, histories, strict=True)
    ]


def split_options(preset: str, options: dict[str, Any]) -> tuple[Options, TrainingConfig]:
    """Options of the model and of training, the preset's where nothing is given.

    Raises:
        OptionError: an unknown preset or option, or an impossible value.
    """
    defaults = get_preset(preset)
    known = [f.name for f in fields(Options)] + list(_TRAINING_OPTIONS)
    if unknown := sorted(set(options) - set(known)):
        raise OptionError(
            f"Unknown option of {preset!r}: {', '.join(unknown)}. Known options: {', '.join(known)}."
        )
    of_training = {k: v for k, v in options.items() if k in _TRAINING_OPTIONS}
    of_model = {k: v for k, v in options.items() if k not in _TRAINING_OPTIONS}
    if "steps" in of_training and "max_epochs" not in of_training:
        of_training["max_epochs"] = None  # a preset's own length gives way
    return build_options(preset, of_model), replace(defaults.training, **of_training)


def choose_recipe(preset: str, options: Options, warm_start: str | None) -> str:
    """The recipe of a preset, or what `warm_start` makes of it.

    Raises:
        OptionError: there is no such warm start, or the model cannot have it.
    """
    if warm_start not in {"auto", "rotation", None}:
        raise OptionError(f"warm_start={warm_start!r} is not one of 'auto', 'rotation', None.")
    recipe = get_preset(preset).recipe
    if warm_start == "rotation" and recipe != "cellwise":
        recipe = "rotation"
    if warm_start is None and recipe in ("rotation", "cellwise"):
        recipe = "plain"
    rotated = recipe in ("rotation", "rotation_only", "cellwise")
    if rotated and (options.shift == "none" or options.posterior != "cells"):
        raise OptionError(
            f"{preset!r} cannot start from a rotation: it needs shifts and an encoder that sees "
            "the cells alone. Use warm_start=None."
        )
    return recipe


def resolve_device(device: str) -> torch.device:
    """The torch device of a name; "auto": CUDA if there is one, else CPU.

    Raises:
        OptionError: no such device here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise OptionError(
            f"device={device!r} cannot be used here ({reason}). Use 'cpu' or 'auto'."
        ) from error


def _member(
    options: Options,
    training: TrainingConfig,
    design: Design,
    cells: CellStore,
    n_batches: int,
    n_latents: int,
    seed: int,
) -> Member:
    model = build_model(
        options,
        design,
        n_genes=cells.n_genes,
        n_batches=max(1, n_batches),
        n_latents=n_latents,
        seed=seed,
    )
    model.to(cells.device)
    train, validation = _hold_out(cells, training.validation_fraction, seed)
    if options.dispersion_start == "data":
        model.likelihood.observe(train)
    return Member(model, train, validation, seed)


def _hold_out(cells: CellStore, fraction: float, seed: int) -> tuple[CellStore, CellStore | None]:
    order = np.random.default_rng(seed).permutation(cells.n_cells)
    n_validation = round(fraction * cells.n_cells)
    if cells.n_cells - n_validation < 2:
        raise ScreenError(
            f"The screen has {cells.n_cells} cells; training needs at least 2 beside the "
            f"validation cells (validation_fraction={fraction})."
        )
    index = torch.from_numpy(order)
    validation = cells.subset(index[:n_validation]) if n_validation else None
    return cells.subset(index[n_validation:]), validation
