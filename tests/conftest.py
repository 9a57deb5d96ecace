"""Small screens and models that several folders share. Nobody may change what they return."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from scipy import sparse

import sparseshift as ss
from sparseshift.data.cells import Cells
from sparseshift.data.design import Design
from sparseshift.fitted_model import FittedModel
from sparseshift.models.build import build_model
from sparseshift.models.vae import PerturbationVAE
from sparseshift.presets import build_options

GROUPS = {"ctrl": 70, "A": 50, "B": 50, "B+A": 30, "C": 40, "D": 30, "C+D": 15, "A+C": 15}
SHIFTS = {"ctrl": [0.0, 0.0], "A": [3.0, 0.0], "B": [0.0, 3.0], "C": [-3.0, 0.0], "D": [0.0, -2.0]}
HELD_OUT = ("C", "D", "C+D", "A+C")
SMALL: dict[str, Any] = {
    "n_latents": 3,
    "n_hidden": 16,
    "steps": 30,
    "perturbation": "gene",
    "control": "ctrl",
    "warm_start": None,
}


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Two threads wait for each other on tensors this small."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small_screen() -> AnnData:
    """300 cells, 20 genes, two true latents; singles A to D, doubles B+A, C+D, A+C, two batches."""
    rng = np.random.default_rng(7)
    labels = np.repeat(list(GROUPS), list(GROUPS.values()))
    mean = np.array([np.sum([SHIFTS[p] for p in label.split("+")], axis=0) for label in labels])
    z = mean + rng.standard_normal(mean.shape)
    logits = z @ (0.4 * rng.standard_normal((2, 20))) + 0.5 * rng.standard_normal(20)
    proportions = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    counts = rng.poisson(rng.integers(100, 400, size=(len(z), 1)) * proportions)
    obs = pd.DataFrame(
        {"gene": labels, "batch": np.tile(["b1", "b2"], len(z) // 2)},
        index=[f"cell{i}" for i in range(len(z))],
    )
    var = pd.DataFrame(index=[f"G{i}" for i in range(20)])
    screen = AnnData(sparse.csr_matrix(counts, dtype=np.float32), obs=obs, var=var)
    screen.uns["source"] = {"name": "simulated", "order": np.arange(3)}
    return screen


@pytest.fixture(scope="session")
def training_screen(small_screen: AnnData) -> AnnData:
    """The small screen without the cells of C, D and their doubles."""
    return small_screen[~small_screen.obs["gene"].isin(HELD_OUT)].copy()


@pytest.fixture(scope="session")
def fitted(training_screen: AnnData) -> dict[str, FittedModel]:
    """Every model on the training screen, hardly trained; `batches` is svae_plus with a batch."""
    models = {
        name: ss.fit(training_screen, name, **SMALL) for name in ("vae", "ivae", "svae_plus")
    }
    return {**models, "batches": ss.fit(training_screen, "svae_plus", batch="batch", **SMALL)}


@pytest.fixture(scope="session")
def small() -> dict[str, Any]:
    """Keywords of a fit that takes a moment."""
    return dict(SMALL)


@pytest.fixture(scope="session")
def make_cells() -> Callable[..., Cells]:
    """Cells in float64 whose labels take turns."""

    def make(
        design: Design,
        labels: Sequence[str],
        *,
        n_cells: int = 24,
        n_genes: int = 6,
        n_batches: int = 1,
        seed: int = 0,
    ) -> Cells:
        rng = np.random.default_rng(seed)
        counts = rng.poisson(rng.gamma(1.0, 4.0, size=(n_cells, n_genes))).astype(np.float64)
        counts[:, 0] += 1.0
        turn = torch.arange(n_cells)
        return Cells(
            torch.from_numpy(counts),
            turn % len(labels),
            (turn // 2) % n_batches,
            torch.from_numpy(design.matrix(labels)).double(),
        )

    return make


@pytest.fixture(scope="session")
def make_design() -> Callable[..., Design]:
    """The design that a preset makes of labels, of which "control" is the control."""

    def make(preset: str, labels: Sequence[str], **options: object) -> Design:
        chosen = build_options(preset, options)
        anchor = "control" if chosen.anchor_control else None
        return Design.of_labels(labels, anchor, additive=chosen.additive)

    return make


@pytest.fixture(scope="session")
def make_model(make_design: Callable[..., Design]) -> Callable[..., PerturbationVAE]:
    """A model in float64, in eval mode, with effects of size one and mixed inclusion probabilities."""
    scales = {"logit": (0.0, 1.5), "log_std": (-0.7, 0.3)}

    def make(
        preset: str,
        labels: Sequence[str],
        *,
        n_genes: int = 6,
        n_batches: int = 1,
        n_latents: int = 3,
        seed: int = 0,
        **options: object,
    ) -> PerturbationVAE:
        model = build_model(
            build_options(preset, {"n_hidden": 8, **options}),
            make_design(preset, labels, **options),
            n_genes=n_genes,
            n_batches=n_batches,
            n_latents=n_latents,
            seed=seed,
        ).double()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, value in model.prior.named_parameters():
                centre, scale = scales.get(name.rpartition(".")[2], (0.0, 1.0))
                value.copy_(centre + scale * torch.randn(value.shape, generator=generator))
            for value in model.likelihood.parameters():
                value.copy_(torch.linspace(-1.0, 2.0, n_genes))
        return model.eval()

    return make
