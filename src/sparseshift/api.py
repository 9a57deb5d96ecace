"""The library in a notebook: fit a model to an AnnData, look at it, adapt it, score it, save it."""

from __future__ import annotations

import logging
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch

from sparseshift.data import simulation
from sparseshift.data.cell_store import CellStore
from sparseshift.data.design import Design
from sparseshift.data.placement import check_storage, place
from sparseshift.errors import OptionError, ScreenError, require_whole
from sparseshift.fitted_factors import (
    FittedFactors,
    fit_factors,
    is_factors,
    refuse_options,
)
from sparseshift.fitted_model import FittedModel
from sparseshift.models.build import build_model
from sparseshift.models.linear_factors import METHODS
from sparseshift.models.options import Options
from sparseshift.presets import build_options, get_preset
from sparseshift.screens.cells import read_labels, read_perturbations, to_cells
from sparseshift.screens.check import check_screen
from sparseshift.screens.columns import Columns
from sparseshift.specification import Specification
from sparseshift.training.config import TrainingConfig
from sparseshift.training.identity import fit_identity
from sparseshift.training.recipes import Job, follow

if TYPE_CHECKING:
    from anndata import AnnData

logger = logging.getLogger(__name__)

_TRAINING_OPTIONS = tuple(f.name for f in fields(TrainingConfig))


def fit(  # noqa: PLR0913 the facade of the library: one flat list of keywords
    adata: AnnData,
    preset: str,
    *,
    perturbation: str,
    control: str | None = None,
    batch: str | None = None,
    layer: str | None = None,
    n_latents: int = 15,
    seed: int = 0,
    max_epochs: int | None = None,
    batch_size: int | None = None,
    validation_fraction: float | None = None,
    warm_start: str | None = "auto",
    device: str = "auto",
    checkpoints: str | Path | None = None,
    storage: str = "auto",
    **options: Any,
) -> FittedModel:
    """Trains a model on all cells of a screen.

    Maximises the ELBO of Lopez et al. (2023) in nats a cell, with the masks averaged out exactly
    (docs/model.md); what the prior's parameters cost is spread over the training cells.

    Args:
        adata: the screen, integer counts (cells, genes); it is not changed.
        preset: a model by name: `sparseshift.presets.PRESETS`, docs/model.md; or a linear baseline,
            "pca", "factor_analysis", "fast_ica" or "nmf", to which nothing below seed applies (a
            `FittedFactors`).
        perturbation: obs column of the perturbation: a gene, `A+B`, or the control's name.
        control: the label of unperturbed cells, whose shift is fixed at 0; None: there are none.
        batch: obs column of the batch, a covariate of the decoder; None: no batches.
        layer: where the counts are; None: X.
        n_latents: dimensions of z.
        seed: of initial weights, batches, noise and the choice of validation cells.
        max_epochs: passes over the training cells; None: enough for `steps` gradient steps.
        batch_size: cells a gradient step; None: the preset's, 128.
        validation_fraction: share of cells kept aside to choose the best weights; 0: none; None:
            the preset's, 0.1.
        warm_start: "auto" is the preset's choice (svae_plus: "rotation"), "rotation" starts from a
            rotated VAE, None from random weights.
        device: "cpu", "cuda", ..., or "auto": CUDA if there is one.
        checkpoints: a folder where the state of the fit is kept, under a name made of data,
            settings and code, so that the same call goes on after a crash, and is not trained
            again once it has finished; None: no state.
        storage: where the counts are kept in training: "memory", that of the device if they fit
            there; "disk", a temporary file; "auto": disk if adata is a file in backed mode or the
            counts would take more than half of the memory available. The numbers are the same.
        **options: of the model (`models.options.Options`) and of training
            (`training.config.TrainingConfig`), by name.

    Returns:
        The fitted model.

    Raises:
        ScreenError: the screen has faults; the message lists all of them.
        OptionError: an option does not exist or cannot have this value.
        TrainingError: a term of the objective stopped being finite.
    """
    columns = Columns(perturbation=perturbation, control=control, batch=batch, layer=layer)
    given = {
        "max_epochs": max_epochs,
        "batch_size": batch_size,
        "validation_fraction": validation_fraction,
    }
    options |= {name: value for name, value in given.items() if value is not None}
    if preset in METHODS:
        factors: Any = fit_factors(
            adata, preset, columns, n_latents=n_latents, seed=seed, options=options
        )
        return factors  # Any: a union would have every caller with a VAE narrow it
    model_options, training = _split_options(preset, options)
    recipe = _recipe(preset, model_options, warm_start)
    n_latents = require_whole("n_latents", n_latents, 1)
    seed = require_whole("seed", seed, 0)
    check_storage(storage)
    target = resolve_device(device)
    check_screen(adata, columns)
    labels = read_perturbations(adata, columns)
    anchor = columns.control if model_options.anchor_control else None
    design = Design.of_labels(labels.tolist(), anchor, additive=model_options.additive)
    genes = tuple(map(str, adata.var_names))
    batches = () if batch is None else tuple(sorted(set(read_labels(adata, batch).tolist())))
    cells, _ = to_cells(adata, columns, genes, design, batches, storage=storage)
    module = build_model(
        model_options,
        design,
        n_genes=len(genes),
        n_batches=max(1, len(batches)),
        n_latents=n_latents,
        seed=seed,
    ).to(target)
    train, validation = _hold_out(
        place(cells, target, storage), training.validation_fraction, seed
    )
    logger.info(
        "Fitting %s: %d cells, %d genes, %d perturbations, %d latents, seed %d, %s",
        preset, train.n_cells, len(genes), len(design.perturbations), n_latents, seed, target,
    )  # fmt: skip
    spec = Specification(
        preset=preset,
        recipe=recipe,
        options=model_options,
        training=training,
        columns=columns,
        design=design,
        trained=design.perturbations,
        genes=genes,
        batches=batches,
        n_latents=n_latents,
        seed=seed,
    )
    directory = None
    if checkpoints is not None:
        settings = {**asdict(spec), "device": str(target)}
        directory = Path(checkpoints) / fit_identity(settings, cells.tensors())
    history = follow(recipe, module, Job(train, validation, training, seed, directory))
    if not history.edges_converged:
        logger.warning(
            "%s: the number of edges still moved at the end (%d). Give it more steps.",
            preset, history.records[-1].n_edges,
        )  # fmt: skip
    return FittedModel(spec, module.eval(), history)


def load(path: str | Path) -> FittedModel:
    """Reads a model that `FittedModel.save` wrote: JSON and safetensors, nothing is executed.

    Raises:
        FileNotFoundError: there is no model in this directory.
        OptionError: the files are of a format this version does not know.
    """
    factors: Any = FittedFactors.read(path) if is_factors(path) else None
    return factors or FittedModel.read(path)


def simulate(name: Literal["paper"] = "paper", *, seed: int = 0, **sizes: int) -> AnnData:
    """A simulated screen whose latents and targets are known.

    Args:
        name: "paper", the simulator of the code behind Lopez et al. (2023). It gives every gene a
            million counts over all cells, so that depth depends on the number of cells.
        seed: of all draws.
        **sizes: n_perturbations (100), n_cells_per_perturbation (250), n_control_cells (0),
            n_latents (15), n_genes (100).

    Returns:
        Counts in X (cells, genes); obs["perturbation"] ("p000", ..., "control"); obsm["z"] the true
        latents (cells, latents); uns["shifts"] their true shifts (perturbations, latents), in the
        order of uns["perturbations"].

    Raises:
        OptionError: an unknown simulator or size, or a size that is not positive.
    """
    from anndata import AnnData
    from scipy import sparse

    if name != "paper":
        raise OptionError(f"There is no simulator {name!r}. The simulators are: paper.")
    known = (
        "n_perturbations",
        "n_cells_per_perturbation",
        "n_control_cells",
        "n_latents",
        "n_genes",
    )
    if unknown := sorted(set(sizes) - set(known)):
        raise OptionError(f"simulate: unknown {', '.join(unknown)}. Known: {', '.join(known)}.")
    drawn = simulation.paper(np.random.default_rng(seed), **sizes)
    names = np.array([f"p{i:03d}" for i in range(len(drawn.shifts))] + ["control"])
    screen = AnnData(
        X=sparse.csr_matrix(drawn.counts.astype(np.float32)),
        obs=pd.DataFrame(
            {"perturbation": pd.Categorical(names[drawn.perturbation])},
            index=[f"cell_{i}" for i in range(len(drawn.counts))],
        ),
        var=pd.DataFrame(index=[f"gene_{i}" for i in range(drawn.counts.shape[1])]),
    )
    screen.obsm["z"] = drawn.latents
    screen.uns["shifts"] = drawn.shifts
    screen.uns["perturbations"] = names[:-1]
    return screen


def check_options(
    preset: str,
    options: dict[str, Any],
    *,
    warm_start: str | None = "auto",
    storage: str = "auto",
) -> None:
    """Whether `fit` would take these.

    Args:
        preset: a model or a linear baseline.
        options: of the model and of training; a linear baseline has none.
        warm_start: as of `fit`.
        storage: as of `fit`.

    Raises:
        OptionError: an unknown preset or option, or an impossible value.
    """
    check_storage(storage)
    if preset in METHODS:
        refuse_options(preset, options)
    else:
        _recipe(preset, _split_options(preset, options)[0], warm_start)


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


def _split_options(preset: str, options: dict[str, Any]) -> tuple[Options, TrainingConfig]:
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


def _recipe(preset: str, options: Options, warm_start: str | None) -> str:
    if warm_start not in {"auto", "rotation", None}:
        raise OptionError(f"warm_start={warm_start!r} is not one of 'auto', 'rotation', None.")
    recipe = get_preset(preset).recipe if warm_start != "rotation" else "rotation"
    if warm_start is None and recipe == "rotation":
        recipe = "plain"
    rotated = recipe in ("rotation", "rotation_only")
    if rotated and (options.shift == "none" or options.posterior != "cells"):
        raise OptionError(
            f"{preset!r} cannot start from a rotation: it needs shifts and an encoder that sees "
            "the cells alone. Use warm_start=None."
        )
    return recipe


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
