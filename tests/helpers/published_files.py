"""Small files with the layout, columns and labels of the published ones, for tests."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

DATA = Path(__file__).parents[2] / "data" / "01_raw"


def listed(table: str) -> list[str]:
    """The genes of one of the lists that the project ships, each once."""
    return list(pd.read_csv(DATA / f"replogle2022_{table}.tsv", sep="\t")["gene"].unique())


def replogle(n_cells: int = 900, seed: int = 0) -> AnnData:
    """A screen as Replogle et al. (2022) publish theirs: some perturbations and genes are listed, some are not.

    One listed symbol is there twice, many not at all; genes are named by Ensembl ids.
    """
    rng = np.random.default_rng(seed)
    pathways = pd.read_csv(DATA / "replogle2022_pathways.tsv", sep="\t")
    of_pathways = pathways.groupby("pathway").head(2)["gene"]
    modules = listed("perturbation_modules")[:6]
    perturbations = [*of_pathways, *modules, "UNLISTED1", "UNLISTED2"]
    perturbations = list(dict.fromkeys(perturbations))
    symbols = [*listed("expression_programs")[:40], *(f"OTHER{i}" for i in range(20))]
    symbols.append(symbols[3])  # twice
    symbols = rng.permutation(symbols).tolist()
    gene = rng.choice([*perturbations, *["non-targeting"] * 4], n_cells)
    guide = [
        f"non-targeting_{i % 3:05d}|non-targeting_{i % 3 + 5:05d}"
        if name == "non-targeting"
        else f"{name}_+_{100 + i % 2}.23-P1P2|{name}_-_{300 + i % 2}.23-P1P2"
        for i, name in enumerate(gene)
    ]
    counts = rng.poisson(rng.gamma(0.5, 4.0, len(symbols)), (n_cells, len(symbols)))
    obs = pd.DataFrame(
        {
            "gem_group": np.arange(n_cells) % 5 + 1,
            "gene": pd.Categorical(gene),
            "gene_id": pd.Categorical([f"ENSG_{name}" for name in gene]),
            "transcript": pd.Categorical(np.full(n_cells, "P1P2")),
            "gene_transcript": pd.Categorical([f"7_{name}_P1P2" for name in gene]),
            "sgID_AB": pd.Categorical(guide),
            "mitopercent": rng.uniform(0, 0.2, n_cells),
            "UMI_count": counts.sum(1).astype(float),
            "z_gemgroup_UMI": rng.normal(size=n_cells),
            "core_scale_factor": rng.uniform(0.5, 2, n_cells),
            "core_adjusted_UMI_count": rng.uniform(2e3, 3e4, n_cells),
        },
        index=pd.Index([f"CELL{i:04d}-{i % 5 + 1}" for i in range(n_cells)], name="cell_barcode"),
    )
    measured = {name: rng.normal(size=len(symbols)) for name in ("mean", "std", "cv", "fano")}
    var = pd.DataFrame(
        {
            "gene_name": pd.Categorical(symbols),
            "chr": pd.Categorical(np.full(len(symbols), "chr1")),
            "start": np.arange(len(symbols)),
            "end": np.arange(len(symbols)) + 1000,
            "class": pd.Categorical(np.full(len(symbols), "gene_version10")),
            "strand": pd.Categorical(np.full(len(symbols), "+")),
            "length": np.full(len(symbols), 1000),
            "in_matrix": np.full(len(symbols), True),
            **measured,
        },
        index=pd.Index([f"ENSG{i:011d}" for i in range(len(symbols))], name="gene_id"),
    )
    return AnnData(counts.astype(np.float32), obs=obs, var=var)


def norman(n_cells: int = 800, seed: int = 0) -> AnnData:
    """A screen as scPerturb publishes that of Norman et al. (2019): `A_B` for doubles, CSR, symbols."""
    rng = np.random.default_rng(seed)
    labels = ["control"] * 4 + [
        "KLF1",
        "CBL",
        "CNN1",
        "SET",
        "BAK1",
        "CNN1_CBL",
        "KLF1_SET",
        "BAK1_KLF1",
    ]
    perturbation = rng.choice(labels, n_cells)
    guide = np.array([_norman_guide(label, i) for i, label in enumerate(perturbation)])
    symbols = ["KLF1", "CBL", "HBZ", *(f"G{i}" for i in range(30))]
    counts = rng.poisson(rng.gamma(0.5, 3.0, len(symbols)), (n_cells, len(symbols)))
    obs = pd.DataFrame(
        {
            "guide_id": pd.Categorical(guide),
            "read_count": counts.sum(1) * 3,
            "UMI_count": counts.sum(1),
            "gemgroup": np.arange(n_cells) % 4 + 1,
            "good_coverage": np.full(n_cells, True),
            "perturbation": pd.Categorical(perturbation),
            "nperts": [
                0 if label == "control" else label.count("_") + 1 for label in perturbation
            ],
            "perturbation_type": pd.Categorical(np.full(n_cells, "CRISPR")),
        },
        index=pd.Index([f"BARCODE{i}-{i % 4 + 1}" for i in range(n_cells)], name="cell_barcode"),
    )
    var = pd.DataFrame({"ensembl_id": [f"ENSG{i}" for i in range(len(symbols))]}, index=symbols)
    return AnnData(sparse.csr_matrix(counts, dtype=np.float32), obs=obs, var=var)


def write_legacy(screen: AnnData, path: Path) -> Path:
    """The layout of anndata 0.7, in which Replogle et al. publish: categories apart, X one dense block."""
    with h5py.File(path, "w") as file:
        file.create_dataset("X", data=np.asarray(screen.X))
        for name, frame in (("obs", screen.obs), ("var", screen.var)):
            group = file.create_group(name)
            group.attrs["encoding-type"] = "dataframe"
            group.attrs["encoding-version"] = "0.1.0"
            group.attrs["_index"] = frame.index.name
            group.attrs["column-order"] = np.array(frame.columns, dtype=h5py.string_dtype())
            _write_text(group, frame.index.name, frame.index)
            for column in frame:
                _write_column(group, str(column), frame[column])
        file.create_group("uns")
    return path


def _write_column(group: h5py.Group, name: str, values: pd.Series) -> None:
    if not isinstance(values.dtype, pd.CategoricalDtype):
        group.create_dataset(name, data=values.to_numpy())
        return
    codes = group.create_dataset(name, data=values.cat.codes.to_numpy())
    categories = _write_text(group.require_group("__categories"), name, values.cat.categories)
    codes.attrs["categories"] = categories.ref


def _write_text(group: h5py.Group, name: str, values: Any) -> h5py.Dataset:
    texts = np.array([str(value) for value in values], dtype=object)
    return group.create_dataset(name, data=texts, dtype=h5py.string_dtype())


def _norman_guide(label: str, i: int) -> str:
    if label == "control":
        pair = ("NegCtrl10_NegCtrl0", "NegCtrl1_NegCtrl0")[i % 2]
        return f"{pair}__{pair}"
    pair = label if "_" in label else (f"NegCtrl0_{label}", f"{label}_NegCtrl0")[i % 2]
    return f"{pair}__{pair}"
