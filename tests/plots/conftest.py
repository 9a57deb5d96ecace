"""Small made-up tables like those of a run on Papalexi et al. 2021."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

PERTURBATIONS = ["ATF2", "CUL3", "IFNGR1", "IFNGR2", "JAK2", "MYC", "SMAD4", "SPI1", "STAT1"]
LATENTS = [f"z{j}" for j in range(6)]
METRIC_COLUMNS = [
    "screen",
    "model",
    "split",
    "seed",
    "metric",
    "subset",
    "value",
    "lower",
    "upper",
]


@pytest.fixture
def history() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for model, end in [("vae", 271.9), ("ivae", 270.4), ("svae_plus", 270.0)]:
        for seed in range(3):
            for i in range(1, 21):
                elbo = end + 60 * np.exp(-i / 3) + rng.normal(0, 0.1)
                n_edges = {"vae": 0, "ivae": 54, "svae_plus": 10 + 30 // i}[model]
                run = (model, "held_out_0", seed, 0, i == 18, 50 * i)
                rows.append((*run, elbo - 2, elbo, elbo + 1, 1.0, n_edges))
    return pd.DataFrame(
        rows,
        columns=[
            "model",
            "split",
            "seed",
            "phase",
            "best",
            "total_step",
            "train_negative_elbo",
            "validation_negative_elbo",
            "validation_negative_elbo_macro",
            "kl_weight",
            "n_edges",
        ],
    )


@pytest.fixture
def metrics() -> pd.DataFrame:
    rows: list[tuple[Any, ...]] = []
    for model, nll, r in [("svae_plus", 267.1, 0.66), ("vae", 268.9, 0.31), ("ivae", 267.4, 0.62)]:
        for seed in range(3):
            run = ("papalexi2021", model, "held_out_0", seed)
            nll_seed, r_seed = nll + 0.2 * seed, r + 0.01 * seed
            query = "held_out_query"
            rows += [
                (*run, "validation_negative_elbo", "validation", nll_seed + 3, np.nan, np.nan),
                (*run, "inll_macro_k100", query, nll_seed, nll_seed - 1.5, nll_seed + 1.3),
                (*run, "ate_pearson_r", query, r_seed, r_seed - 0.09, r_seed + 0.09),
            ]
    for model, r in [("support_mean_shrunk", 0.68), ("mean_effect", 0.41)]:
        no_seed = ("papalexi2021", model, "held_out_0", None)
        rows.append((*no_seed, "ate_pearson_r", "held_out_query", r, r - 0.1, r + 0.1))
    return pd.DataFrame(rows, columns=METRIC_COLUMNS).astype({"seed": "Int64"})


@pytest.fixture
def effects() -> pd.DataFrame:
    """The interferon-gamma receptor's pathway on z0, its members apart in the alphabet."""
    table = pd.DataFrame(
        0.0, index=pd.Index(PERTURBATIONS, name="perturbation"), columns=pd.Index(LATENTS)
    )
    table.loc[["IFNGR1", "IFNGR2", "JAK2", "STAT1"], "z0"] = [-3.6, -3.7, -3.8, -5.0]
    table.loc["SMAD4", "z1"] = -2.1
    table.loc["CUL3", "z5"] = 1.1
    return table


@pytest.fixture
def inclusion(effects: pd.DataFrame) -> pd.DataFrame:
    return (effects != 0) * 0.94 + 0.02


@pytest.fixture
def embedding() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    labels = rng.choice([*PERTURBATIONS, "non-targeting"], 400)
    highlight = np.where(np.isin(labels, ["STAT1", "JAK2", "SMAD4"]), labels, "")
    x, y = rng.normal(size=(2, 400))
    return pd.DataFrame({"x": x, "y": y, "perturbation": labels, "highlight": highlight})


@pytest.fixture
def genes() -> pd.DataFrame:
    rows = [
        (latent, f"GENE{i}", (-1) ** i * (12 - i) / 6, n_edges)
        for latent, n_edges in zip(LATENTS, [4, 1, 0, 0, 0, 6], strict=True)
        for i in range(12)
    ]
    return pd.DataFrame(rows, columns=["latent", "gene", "log2_fold_change", "edges"])


@pytest.fixture
def mechanism() -> dict[str, Any]:
    edges = np.linspace(-1, 1, 41)
    counts = np.exp(-0.5 * ((edges[:-1] - 0.1) / 0.15) ** 2) * 1000
    model = {
        "cosine": 0.95,
        "quantile": 0.0008,
        "n_sets": 126,
        "histogram": {"edges": edges.tolist(), "counts": counts.astype(int).tolist()},
    }
    return {
        "genes": ["STAT1", "JAK2", "IFNGR1", "IFNGR2"],
        "models": {"svae_plus": model, "raw_effects": {**model, "cosine": 0.2, "quantile": 0.34}},
    }
