"""What svae_plus recovers of simulated screens: MCC and F1 over data seeds, in one condition or all.

    python benchmarks/recovery.py --data-seeds 0 1 2 3 4
    python benchmarks/recovery.py --steps 10000 --conditions paper --data-seeds 100 101 102 103 104 --model-seeds 0 1 2

Four fifths of the perturbations are trained. No fit is told the number of edges or targets, nor, but for
"8 latents for 15" and "20 latents for 15", is it given another number of latents than the truth has. Matched on |r|;
cells and rows of trained perturbations. Medians over data seeds of the means over model seeds, with the least of
all fits; CPU seconds are of one core and of the whole fit. In "permuted labels" cells keep their counts and exchange labels
at random: every edge found is wrong.
"""

import argparse
import time
from typing import Any

import anndata
import numpy as np
import pandas as pd

import sparseshift as ss
from sparseshift.evaluation.graph_recovery import graph_recovery
from sparseshift.evaluation.latent_matching import match_latents

PAPER: dict[str, Any] = {"name": "paper"}
DEFAULT: dict[str, Any] = {"name": "default", "n_genes": 100, "depth": 10_000.0}
CONDITIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "paper": (PAPER, {}),
    "paper, 50 cells": ({**PAPER, "n_cells_per_perturbation": 50}, {}),
    "paper, 25 cells": ({**PAPER, "n_cells_per_perturbation": 25}, {}),
    "paper, 10 latents": ({**PAPER, "n_latents": 10}, {}),
    "paper, 20 latents": ({**PAPER, "n_latents": 20}, {}),
    "paper, 20 latents for 15": (PAPER, {"n_latents": 20}),
    "paper, 8 latents for 15": (PAPER, {"n_latents": 8}),
    "default": (DEFAULT, {}),
    "effects of size 2": ({**DEFAULT, "effect_size": 2.0}, {}),
    "effects of size 1": ({**DEFAULT, "effect_size": 1.0}, {}),
    "density .5": ({**DEFAULT, "density": 0.5}, {}),
    "density .9": ({**DEFAULT, "density": 0.9}, {}),
    "one latent targeted": ({**DEFAULT, "n_targeted_latents": 1}, {}),
    "confounded pairs": ({**DEFAULT, "graph": "confounded"}, {}),
    "three batches, guides at .7": (
        {**DEFAULT, "n_batches": 3, "guide_efficiency": 0.7},
        {"batch": "batch"},
    ),
    "permuted labels": (PAPER, {}),
}


def fit_and_score(
    condition: str, preset: str, data_seed: int, seed: int, steps: int
) -> dict[str, float]:
    """One fit."""
    simulated, options = CONDITIONS[condition]
    screen = ss.simulate(**simulated, seed=data_seed)
    truth = screen.uns["shifts"] != 0
    n_trained = len(truth) * 4 // 5
    trained = list(screen.uns["perturbations"][:n_trained])
    cells = screen[screen.obs["perturbation"].isin([*trained, "control"])].copy()
    control = "control" if (cells.obs["perturbation"] == "control").any() else None
    if condition == "permuted labels":
        _permute(cells, data_seed)
        truth = np.zeros_like(truth)
    start = time.process_time()
    model = ss.fit(
        cells,
        preset,
        perturbation="perturbation",
        control=control,
        seed=seed,
        steps=steps,
        **{"n_latents": truth.shape[1], **options},
    )
    seconds = time.process_time() - start
    perturbed = cells[cells.obs["perturbation"] != "control"]
    matching = match_latents(perturbed.obsm["z"], model.latents(perturbed))
    found = model.inclusion_probability().loc[trained].to_numpy() > 0.5
    graph = graph_recovery(truth[:n_trained], found, matching)
    return {
        "mcc": matching.mcc,
        "precision": graph.precision,
        "recall": graph.recall,
        "f1": graph.f1,
        "edges": graph.n_found,
        "true": graph.n_true,
        "cpu_seconds": seconds,
    }


def _permute(cells: anndata.AnnData, seed: int) -> None:
    labels = cells.obs["perturbation"].to_numpy()
    cells.obs["perturbation"] = np.random.default_rng(seed).permutation(labels)


def main() -> None:
    """Prints a line a fit, then the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=list(CONDITIONS))
    parser.add_argument("--preset", default="svae_plus")
    parser.add_argument("--data-seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--model-seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=3000, help="gradient steps of a fit")
    arguments = parser.parse_args()
    rows = []
    for condition in arguments.conditions:
        for data_seed in arguments.data_seeds:
            for seed in arguments.model_seeds:
                scores = fit_and_score(
                    condition, arguments.preset, data_seed, seed, arguments.steps
                )
                rows.append({"condition": condition, "data_seed": data_seed, **scores})
                print(rows[-1], flush=True)
    fits = pd.DataFrame(rows)
    groups = fits.groupby("condition", sort=False)
    means = fits.groupby(["condition", "data_seed"], sort=False).mean()
    table = means.groupby("condition", sort=False).median()
    for name in ("mcc", "f1"):
        table.insert(table.columns.get_loc(name) + 1, f"least {name}", groups[name].min())
    print(table.round(3).to_string())


if __name__ == "__main__":
    main()
