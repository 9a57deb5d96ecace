"""CPU time of training by the number of cells and of genes, a decade of each: is it linear?

    python benchmarks/scaling.py

svae_plus without its warm start, 15 latents, 128 cells a step, one thread. The cost of an epoch is
the slope of process CPU time between one epoch and as many more as are 60,000 cells; the median of the repeats counts.
"""

import argparse
import math
import statistics
import time

import numpy as np
from anndata import AnnData
from screens import screen

import sparseshift as ss

CELLS = 60_000  # in a slope: fewer would drown in what varies from fit to fit


def epoch_seconds(adata: AnnData, repeats: int) -> float:
    """CPU seconds of one epoch."""
    taken = []
    more = math.ceil(CELLS / adata.n_obs)
    for _ in range(repeats):
        spent = []
        for epochs in (1, 1 + more):
            start = time.process_time()
            ss.fit(
                adata,
                "svae_plus",
                perturbation="perturbation",
                max_epochs=epochs,
                n_evaluations=1,
                validation_fraction=0.0,
                warm_start=None,
                device="cpu",
            )
            spent.append(time.process_time() - start)
        taken.append((spent[1] - spent[0]) / more)
    return statistics.median(taken)


def exponent(sizes: list[int], costs: list[float]) -> float:
    """Slope of log cost on log size: 1 where cost is proportional to size."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def main() -> None:
    """Prints microseconds of CPU a cell, and how cost grows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[5_000, 15_000, 50_000])
    parser.add_argument("--genes", type=int, nargs="+", default=[400, 1_200, 4_000])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    epoch_seconds(screen(100, 1_000), 1)
    for name, shapes in (
        ("cells", [(n, 300) for n in arguments.cells]),
        ("genes", [(5_000, g) for g in arguments.genes]),
    ):
        costs = []
        for n_cells, n_genes in shapes:
            costs.append(epoch_seconds(screen(n_genes, n_cells), arguments.repeats))
            print(f"{n_cells} x {n_genes}: {1e6 * costs[-1] / n_cells:.1f} us a cell", flush=True)
        sizes = [shape[name == "genes"] for shape in shapes]
        print(f"cost grows as {name}^{exponent(sizes, costs):.2f}", flush=True)


if __name__ == "__main__":
    main()
