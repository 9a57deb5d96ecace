"""CPU time of the IWELBO with 1,000 particles: ours against SCVI's get_marginal_ll, on one thread.

    pip install -e .[bench]
    python benchmarks/iwelbo_speed.py

Both bound log p(x) of the same cells, after a short fit; of each the fastest of the repeats counts.
SCVI is timed at several numbers of particles a pass; 1 is its default.
"""

import argparse
import logging
import time
from collections.abc import Callable

import peer
import torch
from screens import screen

import sparseshift as ss


def milliseconds(score: Callable[[], object], n_cells: int, repeats: int) -> float:
    """CPU milliseconds a cell, the fastest of the repeats."""
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        score()
        taken.append(time.process_time() - start)
    return 1e3 * min(taken) / n_cells


def main() -> None:
    """Prints milliseconds of CPU a cell, and SCVI's as multiples of ours."""
    parser = argparse.ArgumentParser(description="CPU time of the IWELBO, ours and SCVI's.")
    parser.add_argument("--genes", type=int, nargs="+", default=[100, 1187])
    parser.add_argument("--cells", type=int, default=64)
    parser.add_argument("--particles", type=int, default=1000)
    parser.add_argument("--passes", type=int, nargs="+", default=[1, 10, 50, 250])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("sparseshift").setLevel(logging.ERROR)  # fits too short to converge
    print(f"{'genes':>6} {'ours ms':>8}   SCVI ms a cell (times ours) at particles a pass")
    for n_genes in args.genes:
        adata = screen(n_genes, 2000)
        scored = adata[:: adata.n_obs // args.cells][: args.cells].copy()
        ours = ss.fit(
            adata, "svae_plus", perturbation="perturbation", max_epochs=2, warm_start=None
        )
        theirs = peer.fit(adata, 2)
        mine = milliseconds(
            lambda ours=ours, scored=scored: ours.cell_iwelbo(scored, args.particles),
            args.cells,
            args.repeats,
        )
        row = []
        for at_once in args.passes:
            peers = milliseconds(
                lambda theirs=theirs, scored=scored, at_once=at_once: theirs.get_marginal_ll(
                    scored,
                    n_mc_samples=args.particles,
                    n_mc_samples_per_pass=at_once,
                    return_mean=False,
                ),
                args.cells,
                args.repeats,
            )
            row.append(f"{at_once}: {peers:.1f} ({peers / mine:.1f})")
        print(f"{n_genes:>6} {mine:>8.2f}   {', '.join(row)}", flush=True)


if __name__ == "__main__":
    main()
