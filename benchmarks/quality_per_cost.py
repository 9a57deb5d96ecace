"""CPU seconds to a recovered graph: MCC and F1 against the cost of the fit, on simulated screens.

Every model is fitted with several lengths to the same screens, `simulate("paper")`, of whose
perturbations four fifths are trained. Printed are, for each length, process CPU seconds, MCC
(mean matched |Pearson r| over cells) and F1 of the graph on trained perturbations: medians over
seeds with the least and the largest.

    python benchmarks/quality_per_cost.py --seeds 0 1 2 3 4
"""

import argparse
import time

import numpy as np
import pandas as pd

import sparseshift as ss
from sparseshift.evaluation.graph_recovery import graph_recovery
from sparseshift.evaluation.latent_matching import match_latents

LENGTHS = {
    "svae_plus": [{"steps": n} for n in (500, 1000, 2000, 3000)],
    "rotated_vae": [{"steps": n} for n in (500, 1000, 3000)],
    "paper.svae_plus": [{"max_epochs": n, "kl_warmup": 50 / n} for n in (100, 300)],
}


def fit_and_score(preset: str, seed: int, length: dict[str, float]) -> dict[str, float]:
    """One fit: CPU seconds, MCC and F1."""
    screen = ss.simulate("paper", seed=seed)
    truth = screen.uns["shifts"] != 0
    n_trained = len(truth) * 4 // 5
    trained = list(screen.uns["perturbations"][:n_trained])
    cells = screen[screen.obs["perturbation"].isin(trained)].copy()
    start = time.process_time()
    model = ss.fit(cells, preset, perturbation="perturbation", seed=seed, **length)
    seconds = time.process_time() - start
    matching = match_latents(cells.obsm["z"], model.latents(cells))
    found = model.inclusion_probability().loc[trained].to_numpy() > 0.5
    graph = graph_recovery(truth[:n_trained], found, matching)
    return {"cpu_seconds": seconds, "mcc": matching.mcc, "f1": graph.f1}


def main() -> None:
    """Prints a line a fit, then the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--models", nargs="+", choices=LENGTHS, default=list(LENGTHS))
    arguments = parser.parse_args()
    ss.fit(  # what is loaded at the first fit is nobody's cost
        ss.simulate("paper", n_perturbations=4, n_cells_per_perturbation=20),
        "svae_plus",
        perturbation="perturbation",
        steps=2,
    )
    rows = []
    for preset in arguments.models:
        for length in LENGTHS[preset]:
            name = ", ".join(f"{k} {v}" for k, v in length.items() if k != "kl_warmup")
            for seed in arguments.seeds:
                scores = fit_and_score(preset, seed, length)
                rows.append({"model": preset, "length": name, "seed": seed, **scores})
                print(rows[-1], flush=True)
    table = pd.DataFrame(rows).drop(columns="seed")
    summary = table.groupby(["model", "length"], sort=False).agg(["median", "min", "max"])
    print(summary.map(lambda value: f"{value:.{3 if np.abs(value) < 2 else 1}f}").to_string())


if __name__ == "__main__":
    main()
