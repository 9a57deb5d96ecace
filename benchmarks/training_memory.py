"""How much memory a fit adds to what the process had, as a multiple of the counts.

    python benchmarks/training_memory.py --cells 100000

Each case is a process of its own: it makes a screen as CSR, fits a few cells once so that libraries are
loaded, then fits the whole screen and reads how far memory rose above what it was just before. The
counts are the smaller of dense float32 and CSR of float32 and int32. Linux only.
"""

import argparse
import ctypes
import gc
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

import sparseshift as ss

STATUS = Path("/proc/self/status")
N_PERTURBATIONS = 100


def make_screen(n_cells: int, n_genes: int, density: float) -> ad.AnnData:
    """Counts of which about this share is not zero, made a thousand cells at a time."""
    rng = np.random.default_rng(0)
    abundance = rng.gamma(0.5, size=n_genes)
    low, high = 1e-3, 1e3
    while high / low > 1.001:  # the depth at which the expected share of non-zero counts is right
        depth = (low * high) ** 0.5
        below = np.mean(1.0 - np.exp(-depth * abundance)) < density
        low, high = (depth, high) if below else (low, depth)
    rows = [
        sparse.csr_matrix(rng.poisson(depth * abundance, size=(size, n_genes)), dtype=np.float32)
        for size in np.diff([*range(0, n_cells, 1000), n_cells])
    ]
    counts = sparse.vstack(rows, format="csr")
    counts[np.flatnonzero(np.diff(counts.indptr) == 0), 0] = 1.0
    labels = [f"G{i % N_PERTURBATIONS}" if i % 10 else "control" for i in range(n_cells)]
    obs = pd.DataFrame({"gene": pd.Categorical(labels)}, index=[f"c{i}" for i in range(n_cells)])
    return ad.AnnData(counts, obs, pd.DataFrame(index=[f"g{i}" for i in range(n_genes)]))


def fit(screen: ad.AnnData, storage: str, steps: int) -> None:
    """A fit that does all that a long one does."""
    ss.fit(
        screen, "svae_plus", perturbation="gene", control="control", steps=steps, storage=storage,
        max_epochs=None, n_evaluations=2, device="cpu",
    )  # fmt: skip


def resident(field: str) -> int:
    """Bytes of a field of /proc/self/status: VmRSS now, VmHWM at most, RssAnon not of files."""
    line = next(x for x in STATUS.read_text().splitlines() if x.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


class AnonymousPeak(threading.Thread):
    """Watches memory that is not of files, which the system cannot take back."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self.done = threading.Event()

    def run(self) -> None:
        """Looks every few milliseconds."""
        while not self.done.wait(0.004):
            self.peak = max(self.peak, resident("RssAnon"))


def measure(
    n_cells: int, n_genes: int, density: float, storage: str, steps: int
) -> dict[str, Any]:
    """One case, in this process."""
    screen = make_screen(n_cells, n_genes, density)
    fit(screen[:2000].copy(), storage, steps)
    gc.collect()
    # else memory that the first fit has freed would hide some of the second's
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew
    before, anonymous_before = resident("VmRSS"), resident("RssAnon")
    watch, start = AnonymousPeak(), time.perf_counter()
    watch.start()
    fit(screen, storage, steps)
    seconds = time.perf_counter() - start
    peak = resident("VmHWM")
    watch.done.set()
    given = min(
        4 * n_cells * n_genes,
        sum(getattr(screen.X, x).nbytes for x in ("data", "indices", "indptr")),
    )
    return {
        "density": screen.X.nnz / n_cells / n_genes,
        "storage": storage,
        "counts_mb": given / 1e6,
        "added_mb": (peak - before) / 1e6,
        "anonymous_mb": (watch.peak - anonymous_before) / 1e6,
        "multiple": (peak - before) / given,
        "anonymous_multiple": (watch.peak - anonymous_before) / given,
        "seconds": seconds,
    }


def main() -> None:
    """All cases, one process each, as a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--genes", type=int, default=1187)
    parser.add_argument(
        "--density", type=float, nargs="+", default=[0.2, 0.05], help="share of non-zero counts"
    )
    parser.add_argument(
        "--storage", nargs="+", default=["memory", "disk"], choices=["memory", "disk", "auto"]
    )
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    size = (given.cells, given.genes)
    if given.one:
        print(json.dumps(measure(*size, given.density[0], given.storage[0], given.steps)))
        return
    print(
        "| cells x genes | not zero | storage | counts, MB | added at most, MB | multiple | not of files, MB | multiple | wall, s |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for density in given.density:
        for storage in given.storage:
            options = {
                "cells": given.cells,
                "genes": given.genes,
                "density": density,
                "storage": storage,
                "steps": given.steps,
            }
            flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
            done = subprocess.run(
                [sys.executable, __file__, "--one", *flags],
                check=True,
                capture_output=True,
                text=True,
            )
            r = json.loads(done.stdout.splitlines()[-1])
            print(
                f"| {given.cells:,} x {given.genes:,} | {r['density']:.0%} | {storage} | {r['counts_mb']:.0f} | "
                f"{r['added_mb']:.0f} | {r['multiple']:.2f} | {r['anonymous_mb']:.0f} | {r['anonymous_multiple']:.2f} | {r['seconds']:.0f} |",
                flush=True,
            )  # fmt: skip


if __name__ == "__main__":
    main()
