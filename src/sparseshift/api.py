"""The library in a notebook: fit a model to an AnnData, look at it, adapt it, score it, save it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparseshift.data.placement import check_storage
from sparseshift.data.simulators.registry import draw
from sparseshift.errors import OptionError, require_whole
from sparseshift.fitted_factors import (
    FittedFactors,
    fit_factors,
    is_factors,
    refuse_options,
)
from sparseshift.fitted_model import FittedModel
from sparseshift.fitting import Keywords, choose_recipe, fit_members, split_options
from sparseshift.models.linear_factors import METHODS
from sparseshift.presets import get_preset
from sparseshift.screens.simulated import as_anndata

if TYPE_CHECKING:
    from anndata import AnnData


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
    keywords = Keywords(
        perturbation=perturbation,
        control=control,
        batch=batch,
        layer=layer,
        n_latents=n_latents,
        max_epochs=max_epochs,
        batch_size=batch_size,
        validation_fraction=validation_fraction,
        warm_start=warm_start,
        device=device,
        storage=storage,
        options=options,
    )
    if preset in METHODS:
        factors: Any = fit_factors(
            adata,
            preset,
            keywords.columns,
            n_latents=n_latents,
            seed=seed,
            options=keywords.all_options,
        )
        return factors  # Any: a union would have every caller with a VAE narrow it
    seed = require_whole("seed", seed, 0)
    return fit_members(adata, preset, keywords, [seed], checkpoints)[0]


def fit_seeds(
    adata: AnnData, preset: str, *, seeds: Sequence[int], **settings: Any
) -> list[FittedModel]:
    """`fit` for several seeds at once, as one batched model: for accelerators.

    A batch of 128 cells leaves most of an accelerator idle; several seeds cost little more than
    one. The models are those of `fit` up to rounding (with dropout, up to other draws of it). On
    CPUs it saves nothing: use a process a seed. No state is kept on the way, and nothing compiled.

    Args:
        adata: the screen.
        preset: a VAE by name.
        seeds: at least one, all different.
        **settings: the keywords of `fit` but seed, checkpoints and compile.

    Returns:
        A model a seed, in the order of seeds.

    Raises:
        ScreenError, OptionError, TrainingError: as `fit`.
    """
    seeds = [require_whole("seed", seed, 0) for seed in seeds]
    if not seeds or len(set(seeds)) < len(seeds):
        raise OptionError(f"seeds={seeds} must be at least one, and all different.")
    if preset in METHODS:
        raise OptionError(f"{preset!r} is not trained in steps. Call fit for each seed.")
    if wrong := sorted({"seed", "checkpoints", "compile"} & set(settings)):
        raise OptionError(f"fit_seeds takes seeds, and no {' or '.join(wrong)}.")
    named = {field.name for field in fields(Keywords)} - {"options"}
    keywords = Keywords(
        **{name: value for name, value in settings.items() if name in named},
        options={name: value for name, value in settings.items() if name not in named},
    )
    return fit_members(adata, preset, keywords, seeds, None)


def load(path: str | Path) -> FittedModel:
    """Reads a model that `FittedModel.save` wrote: JSON and safetensors, nothing is executed.

    Raises:
        FileNotFoundError: there is no model in this directory.
        OptionError: the files are of a format this version does not know.
    """
    factors: Any = FittedFactors.read(path) if is_factors(path) else None
    return factors or FittedModel.read(path)


def simulate(name: str = "paper", *, seed: int = 0, **settings: Any) -> AnnData:
    """A simulated screen whose latents and targets are known.

    Args:
        name: "paper", the simulator of the code behind Lopez et al. (2023), which gives every gene a
            million counts over all cells, so that depth depends on the number of cells; or
            "default", with a library for each cell, control cells, batches, combinations and more.
        seed: of all draws.
        **settings: n_perturbations (100), n_cells_per_perturbation (250), n_control_cells (0;
            default: 1,000), n_latents (15), n_genes (100; default: 500); for those of "default"
            alone see `sparseshift.data.simulators.default`.

    Returns:
        Counts in X (cells, genes); obs["perturbation"] ("p000", "p000+p001", "control"), obs["batch"],
        obs["perturbed"]; obsm["z"] the true latents (cells, latents); uns["shifts"] their true
        shifts (perturbations, latents), in the order of uns["perturbations"].

    Raises:
        OptionError: an unknown simulator or setting, or an impossible value.
    """
    return as_anndata(draw(name, seed, settings))


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
        choose_recipe(preset, split_options(preset, options)[0], warm_start)


def check_sparse_adaptation(preset: str, options: dict[str, Any]) -> None:
    """Whether a model fitted with these could place new perturbations sparsely (`FittedModel.adapt`).

    Args:
        preset: a model or a linear baseline.
        options: of the model and of training.

    Raises:
        OptionError: it has no learnt mask, or no closed form.
    """
    if preset not in METHODS:
        parts = split_options(preset, options)[0]
        sees_cells_alone = parts.posterior == "cells" and parts.effect == "point"
        if (
            sees_cells_alone
            and parts.mask == "bernoulli"
            and get_preset(preset).adaptation == "closed_form"
        ):
            return
    raise OptionError(
        f"{preset!r} cannot place new perturbations sparsely, which takes a learnt mask and a closed form: "
        "svae and svae_plus have them. Leave adaptation out."
    )
