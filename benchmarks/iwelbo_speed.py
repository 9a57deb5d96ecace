"""CPU time of the IWELBO with 1,000 particles: ours against SCVI's get_marginal_ll, on one thread.

    pip install -e .[bench]
    python benchmarks/iwelbo_speed.py

Both bound log p(x) of the same cells, after a short fit. They take turns, so that what else runs on the machine
slows both; the ratio is that of turns one after the other. SCVI is timed at several numbers of particles a pass;
1 is its default.
"""

import argparse
import logging
import time
from collections.abc import Callable

import anndata
import numpy as np
import peer
import torch
from screens import screen

import sparseshift as ss


def milliseconds(
    scores: dict[str, Callable[[], object]], n_cells: int, repeats: int
) -> dict[str, np.ndarray]:
    """CPU milliseconds a cell of each tool in each repeat."""
    found = {name: np.zeros(repeats + 1) for name in scores}
    for repeat in range(repeats + 1):
        for name, score in scores.items():
            start = time.process_time()
            score()
            found[name][repeat] = 1e3 * (time.process_time() - start) / n_cells
    return {name: each[1:] for name, each in found.items()}  # the first warms up


def tools(
    adata: anndata.AnnData, n_cells: int, particles: int, passes: list[int]
) -> dict[str, Callable[[], object]]:
    """What to time: ours, and SCVI by particles a pass."""
    scored = adata[:: adata.n_obs // n_cells][:n_cells].copy()
    ours = ss.fit(adata, "svae_plus", perturbation="perturbation", max_epochs=2, warm_start=None)
    theirs = peer.fit(adata, 2)

    def peers(at_once: int) -> Callable[[], object]:
        return lambda: theirs.get_marginal_ll(
            scored, n_mc_samples=particles, n_mc_samples_per_pass=at_once, return_mean=False
        )

    return {"ours": lambda: ours.cell_iwelbo(scored, particles)} | {
        str(at_once): peers(at_once) for at_once in passes
    }


def main() -> None:
    """Prints milliseconds of CPU a cell, and SCVI's as multiples of ours."""
    parser = argparse.ArgumentParser(description="CPU time of the IWELBO, ours and SCVI's.")
    parser.add_argument("--genes", type=int, nargs="+", default=[100, 1187])
    parser.add_argument("--cells", type=int, default=64)
    parser.add_argument("--particles", type=int, default=1000)
    parser.add_argument("--passes", type=int, nargs="+", default=[1, 10, 50, 100, 250])
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("sparseshift").setLevel(logging.ERROR)  # fits too short to converge
    print("medians of the repeats; in brackets times ours, with quartiles")
    print(f"{'genes':>6} {'ours ms':>8}   SCVI ms a cell at particles a pass")
    for n_genes in args.genes:
        adata = screen(n_genes, 2000)
        taken = milliseconds(
            tools(adata, args.cells, args.particles, args.passes), args.cells, args.repeats
        )
        mine, row = taken.pop("ours"), []
        for at_once, theirs in taken.items():
            lower, ratio, upper = np.quantile(theirs / mine, [0.25, 0.5, 0.75])
            row.append(
                f"{at_once}: {np.median(theirs):.1f} ({ratio:.1f}, {lower:.1f} to {upper:.1f})"
            )
        print(f"{n_genes:>6} {np.median(mine):>8.2f}   {', '.join(row)}", flush=True)


if __name__ == "__main__":
    main()
