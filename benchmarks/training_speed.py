"""CPU time of a training step: svae_plus against SCVI of the same size, in one run on one thread.

    pip install -e .[bench]
    python benchmarks/training_speed.py

A step's cost is the slope of process CPU time between two numbers of epochs, so that set-up does not
count. Both tools take turns; of each the fastest of the repeats counts, since whatever else runs
on the machine only adds.
"""

import argparse
import logging
import math
import time

import anndata
import peer
import torch
from screens import screen

import sparseshift as ss

BATCH = 128


def ours(adata: anndata.AnnData, epochs: int) -> None:
    """svae_plus without its warm start, which trains another model first."""
    ss.fit(
        adata,
        "svae_plus",
        perturbation="perturbation",
        n_latents=15,
        batch_size=BATCH,
        max_epochs=epochs,
        n_evaluations=1,
        validation_fraction=0.0,
        warm_start=None,
        device="cpu",
    )


def milliseconds(
    adata: anndata.AnnData, epochs: tuple[int, int], repeats: int
) -> dict[str, float]:
    """CPU milliseconds a step of each tool."""
    tools = {"SCVI": peer.fit, "ours": ours}
    taken: dict[tuple[str, int], float] = {}
    for repeat in range(repeats + 1):
        for n_epochs in epochs:
            for name, fit in tools.items():
                start = time.process_time()
                fit(adata, n_epochs)
                if repeat > 0:  # the first warms up
                    key = name, n_epochs
                    taken[key] = min(taken.get(key, math.inf), time.process_time() - start)
    n_steps = round(adata.n_obs / BATCH) * (epochs[1] - epochs[0])
    return {
        name: 1e3 * (taken[name, epochs[1]] - taken[name, epochs[0]]) / n_steps for name in tools
    }


def main() -> None:
    """Prints milliseconds of CPU a step, and their ratio."""
    parser = argparse.ArgumentParser(description="CPU time of a training step, ours and SCVI's.")
    parser.add_argument("--genes", type=int, nargs="+", default=[100, 1187])
    parser.add_argument("--cells", type=int, default=5120)
    parser.add_argument("--epochs", type=int, nargs=2, default=[1, 5])
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("sparseshift").setLevel(logging.ERROR)  # fits too short to converge
    print(f"{'genes':>6} {'SCVI ms':>8} {'ours ms':>8} {'ratio':>6}")
    for n_genes in args.genes:
        step = milliseconds(screen(n_genes, args.cells), tuple(args.epochs), args.repeats)
        print(
            f"{n_genes:>6} {step['SCVI']:>8.2f} {step['ours']:>8.2f} "
            f"{step['SCVI'] / step['ours']:>6.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
