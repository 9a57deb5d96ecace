"""Cutting a screen out of a dense file that does not fit into memory: seconds, CPU seconds, memory.

    python benchmarks/cut_speed.py --gigabytes 4 --folder /a/disk/not/in/memory

Writes a file like K562_gwps_raw_singlecell_01.h5ad (dense float32, 8,248 genes, the published columns of
obs and var, the perturbations and genes of the published lists among them), then, each time with
the system's cache of the file emptied: reads it with `cat`, and cuts the paper's cells and genes out
of it in a process of its own. Linux only.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd

DATA = Path(__file__).parents[1] / "data" / "01_raw"
N_GENES, N_PERTURBATIONS, BLOCK = 8248, 9866, 2048


def listed(table: str) -> list[str]:
    """The genes of a published list, each once."""
    return list(pd.read_csv(DATA / f"replogle2022_{table}.tsv", sep="\t")["gene"].unique())


def write(path: Path, n_cells: int) -> None:
    """The file, a block of cells at a time."""
    rng = np.random.default_rng(0)
    modules, programs = listed("perturbation_modules"), listed("expression_programs")
    others = [f"P{i}" for i in range(N_PERTURBATIONS - len(modules))]
    genes = rng.choice([*modules, *others, *["non-targeting"] * 390], n_cells)
    cells = pd.Index([f"CELL{i}-{i % 267 + 1}" for i in range(n_cells)], name="cell_barcode")
    obs = pd.DataFrame(
        {
            "gem_group": np.arange(n_cells) % 267 + 1,
            "gene": pd.Categorical(genes),
            "gene_id": pd.Categorical([f"ENSGP_{gene}" for gene in genes]),
            "transcript": pd.Categorical(np.full(n_cells, "P1P2")),
            "gene_transcript": pd.Categorical([f"0_{gene}_P1P2" for gene in genes]),
            "sgID_AB": pd.Categorical(
                [f"{gene}_+_1.23-P1P2|{gene}_-_2.23-P1P2" for gene in genes]
            ),
            "mitopercent": rng.uniform(0, 0.2, n_cells),
            "UMI_count": rng.uniform(2e3, 3e4, n_cells),
            "z_gemgroup_UMI": rng.normal(size=n_cells),
            "core_scale_factor": rng.uniform(0.5, 2, n_cells),
            "core_adjusted_UMI_count": rng.uniform(2e3, 3e4, n_cells),
        },
        index=cells,
    )
    symbols = [*programs, *(f"M{i}" for i in range(N_GENES - len(programs)))]
    var = pd.DataFrame(
        {"gene_name": rng.permutation(symbols), "mean": rng.gamma(0.3, 3.0, N_GENES)},
        index=pd.Index([f"ENSG{i:011d}" for i in range(N_GENES)], name="gene_id"),
    )
    ad.AnnData(obs=obs, var=var).write_h5ad(path)
    counts = rng.poisson(var["mean"].to_numpy(), (BLOCK, N_GENES)).astype(np.float32)
    with h5py.File(path, "r+") as file:
        if "X" in file:
            del file["X"]
        matrix = file.create_dataset("X", (n_cells, N_GENES), "float32")
        matrix.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        for start in range(0, n_cells, BLOCK):
            stop = min(start + BLOCK, n_cells)
            matrix[start:stop] = np.roll(counts, start // BLOCK, axis=0)[: stop - start]


def forget(path: Path) -> None:
    """The system's cache of a file, emptied."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cut(path: Path, folder: Path) -> None:
    """The paper's cut with 2,000 control cells; prints what it took. Meant for a process of its own."""
    from sparseshift.screens.cut import Cut, LabelRule, cut_screen

    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    wanted = Cut(
        "gene",
        LabelRule(("non-targeting",), "non-targeting"),
        perturbations=tuple(listed("perturbation_modules")),
        n_control_cells=2000,
        genes=tuple(listed("expression_programs")),
        symbol="gene_name",
    )
    screen, _ = cut_screen(path, wanted, perturbation="gene", folder=folder)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    output = screen.X.data.nbytes + screen.X.indices.nbytes + screen.X.indptr.nbytes
    print(
        json.dumps(
            {
                "cells": screen.n_obs,
                "genes": screen.n_vars,
                "seconds": seconds,
                "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
                "output_gb": output / 1e9,
                "peak_gb": after.ru_maxrss * 1024 / 1e9,
                "before_gb": before.ru_maxrss * 1024 / 1e9,
            }
        )
    )


def cold_cat(path: Path) -> float:
    """Seconds of `cat` on a file that is not in the cache."""
    forget(path)
    start = time.perf_counter()
    subprocess.run(["cat", str(path)], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    """Prints a row a repeat."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--cut", type=Path, nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.cut:
        cut(*chosen.cut)
        return
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        folder = Path(name)
        path = folder / "screen.h5ad"
        write(path, int(chosen.gigabytes * 1e9 / (4 * N_GENES)))
        size = path.stat().st_size / 1e9
        print(f"{size:.2f} GB")
        print("cat s   cut s   share of cat   CPU s   CPU s/GB   output GB   peak - output GB")
        for repeat in range(chosen.repeats):
            cat = cold_cat(path)
            forget(path)
            command = [sys.executable, __file__, "--cut", str(path), str(folder / f"cut{repeat}")]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            took = json.loads(done.stdout.splitlines()[-1])
            print(
                f"{cat:5.1f}   {took['seconds']:5.1f}   {cat / took['seconds']:12.2f}   {took['cpu_seconds']:5.1f}   "
                f"{took['cpu_seconds'] / size:8.2f}   {took['output_gb']:9.3f}   "
                f"{took['peak_gb'] - took['output_gb']:16.2f}   "
                f"({took['cells']} cells x {took['genes']} genes; process before: {took['before_gb']:.2f} GB)"
            )


if __name__ == "__main__":
    main()
