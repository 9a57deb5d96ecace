"""CPU time of a training step: svae_plus against SCVI of the same size, in one run on one thread.

    pip install -e .[bench]
    python benchmarks/training_speed.py

A step's cost is the slope of process CPU time between two numbers of epochs, so that set-up does not
count. Both tools take turns, so that what else runs on the machine slows both; the ratio is that of
turns one after the other.
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
) -> dict[str, np.ndarray]:
    """CPU milliseconds a step of each tool in each repeat."""
    tools = {"SCVI": peer.fit, "ours": ours}
    n_steps = round(adata.n_obs / BATCH) * (epochs[1] - epochs[0])
    found = {name: np.zeros(repeats + 1) for name in tools}
    for repeat in range(repeats + 1):
        for name, fit in tools.items():
            taken = [seconds(fit, adata, n_epochs) for n_epochs in epochs]
            found[name][repeat] = 1e3 * (taken[1] - taken[0]) / n_steps
    return {name: each[1:] for name, each in found.items()}  # the first warms up


def seconds(fit: Callable[[anndata.AnnData, int], None], adata: anndata.AnnData, n: int) -> float:
    """CPU time of a fit of n epochs."""
    start = time.process_time()
    fit(adata, n)
    return time.process_time() - start


def main() -> None:
    """Prints milliseconds of CPU a step, and their ratio."""
    parser = argparse.ArgumentParser(description="CPU time of a training step, ours and SCVI's.")
    parser.add_argument("--genes", type=int, nargs="+", default=[100, 1187])
    parser.add_argument("--cells", type=int, default=5120)
    parser.add_argument("--epochs", type=int, nargs=2, default=[1, 7])
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("sparseshift").setLevel(logging.ERROR)  # fits too short to converge
    print("medians of the repeats, and the quartiles of their ratio")
    print(f"{'genes':>6} {'SCVI ms':>8} {'ours ms':>8} {'ratio':>6}")
    for n_genes in args.genes:
        step = milliseconds(screen(n_genes, args.cells), tuple(args.epochs), args.repeats)
        lower, ratio, upper = np.quantile(step["SCVI"] / step["ours"], [0.25, 0.5, 0.75])
        print(
            f"{n_genes:>6} {np.median(step['SCVI']):>8.2f} {np.median(step['ours']):>8.2f} "
            f"{ratio:>6.2f} ({lower:.2f} to {upper:.2f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
