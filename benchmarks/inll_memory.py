"""Time and memory of the I-NLL of many cells: 10,000 query cells, 1,000 particles, 1,187 genes.

    python benchmarks/inll_memory.py
    python benchmarks/inll_memory.py --cells 1000

Two cases, a process each on one thread: the I-NLL of an adapted model, and an n-shot curve of 50 supports
from the same particles (sizes 5 to 100, 10 draws). 20 perturbations are held out, with 100 support cells
each and the query cells shared out. A few cells are scored first so that libraries are loaded; memory is how
far the process rose above what it was just before. Linux only.
"""

import argparse
import ctypes
import gc
import json
import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import torch
from scipy import sparse

import sparseshift as ss
from sparseshift.data.splits import Split, make_split
from sparseshift.scoring import RunKey, ScoreSettings
from sparseshift.scoring.n_shot import NShotSettings, nested_supports, score_n_shot
from sparseshift.screens.columns import Columns

COLUMNS = Columns("gene", "control")
N_TRAINED, N_HELD_OUT, N_SUPPORT = 20, 20, 100


def make_screen(n_query: int, n_genes: int) -> ad.AnnData:
    """Trained perturbations of 100 cells, and held-out ones of 100 support cells and their query cells."""
    rng = np.random.default_rng(0)
    sizes = {"control": 500} | {f"T{i}": 100 for i in range(N_TRAINED)}
    sizes |= {f"H{i}": N_SUPPORT + n_query // N_HELD_OUT for i in range(N_HELD_OUT)}
    mean = rng.gamma(0.5, 1.5, size=n_genes)
    blocks = []
    for n_cells in sizes.values():
        depth = rng.lognormal(0.0, 0.4, size=(n_cells, 1))
        effect = np.exp(0.3 * rng.standard_normal(n_genes))
        blocks.append(sparse.csr_matrix(rng.poisson(depth * effect * mean), dtype=np.float32))
    labels = np.repeat(list(sizes), list(sizes.values()))
    obs = pd.DataFrame(
        {"gene": pd.Categorical(labels)}, index=[f"c{i}" for i in range(len(labels))]
    )
    genes = pd.DataFrame(index=[f"g{i}" for i in range(n_genes)])
    return ad.AnnData(sparse.vstack(blocks, format="csr"), obs, genes)


def split_of(screen: ad.AnnData, n_query: int) -> Split:
    """100 support cells of each held-out perturbation; the others are query cells."""
    each = N_SUPPORT + n_query // N_HELD_OUT
    return make_split(
        list(screen.obs_names), screen.obs["gene"].to_numpy(dtype=str), "control", name="large",
        held_out=[f"H{i}" for i in range(N_HELD_OUT)], seed=0, support_fraction=N_SUPPORT / each,
    )  # fmt: skip


def resident(field: str) -> int:
    """Bytes of a field of /proc/self/status: VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(x for x in lines if x.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def measure(case: str, n_query: int, n_particles: int, n_genes: int) -> dict[str, Any]:
    """One case, in this process."""
    torch.set_num_threads(1)
    logging.getLogger("sparseshift").setLevel(logging.ERROR)  # a fit too short to converge
    screen = make_screen(n_query, n_genes)
    split = split_of(screen, n_query)
    training = screen[split.is_training(screen.obs_names, screen.obs["gene"].to_numpy(dtype=str))]
    model = ss.fit(
        training.copy(), "svae_plus", perturbation="gene", control="control", max_epochs=2,
        warm_start=None, device="cpu",
    )  # fmt: skip
    supports = nested_supports(screen, COLUMNS, split, tuple(screen.var_names), NShotSettings())
    adapted = model.adapt(screen[list(split.support)])
    query = screen[supports.query_cells].copy()
    settings = ScoreSettings(n_particles=n_particles)
    adapted.cell_iwelbo(query[:50], 50)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # else memory freed before would hide some of what is taken
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew
    before, start, cpu = resident("VmRSS"), time.perf_counter(), time.process_time()
    if case == "inll":
        adapted.cell_iwelbo(query, n_particles)
    else:
        score_n_shot(model, screen, supports, RunKey("b", "m", "s", 0), settings, NShotSettings())
    return {
        "case": case,
        "cells": query.n_obs,
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
        "added_mb": (resident("VmHWM") - before) / 1e6,
        "counts_mb": 4e-6 * query.n_obs * query.n_vars,
    }


def main() -> None:
    """Both cases, one process each, as a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--particles", type=int, default=1000)
    parser.add_argument("--genes", type=int, default=1187)
    parser.add_argument("--case", nargs="+", default=["inll", "n_shot"])
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.case[0], given.cells, given.particles, given.genes)))
        return
    print(
        "| case | query cells | particles | genes | wall, s | CPU, s | added at most, MB | dense counts, MB |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for case in given.case:
        flags = ["--cells", given.cells, "--particles", given.particles, "--genes", given.genes]
        command = [sys.executable, __file__, "--one", "--case", case, *map(str, flags)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        r = json.loads(done.stdout.splitlines()[-1])
        print(
            f"| {case} | {r['cells']:,} | {given.particles:,} | {given.genes:,} | {r['seconds']:.0f} | "
            f"{r['cpu_seconds']:.0f} | {r['added_mb']:.0f} | {r['counts_mb']:.0f} |",
            flush=True,
        )  # fmt: skip


if __name__ == "__main__":
    main()
