"""From AnnData to the cells a model eats: the right genes, labels, batches."""

from collections.abc import Sequence

import numpy as np
import torch
from anndata import AnnData
from scipy import sparse

from sparseshift.data.cell_store import CellStore
from sparseshift.data.cells import encode_labels
from sparseshift.data.compact import Survey, compact
from sparseshift.data.design import Design
from sparseshift.data.placement import allocator
from sparseshift.data.splits import Split
from sparseshift.errors import ScreenError
from sparseshift.screens.columns import Columns, canonical
from sparseshift.screens.counts import count_parts


def dense_counts(adata: AnnData, layer: str | None, genes: Sequence[str]) -> np.ndarray:
    """Counts of these genes in this order, dense float32 (cells, genes); adata is not changed.

    Raises:
        ScreenError: genes are missing; the message names some and says how many.
    """
    position = gene_positions(adata, layer, genes)
    matrix = adata.X if layer is None else adata.layers[layer]
    chosen = matrix[:, position]
    dense = chosen.toarray() if sparse.issparse(chosen) else np.asarray(chosen)
    return np.ascontiguousarray(dense, dtype=np.float32)


def gene_positions(adata: AnnData, layer: str | None, genes: Sequence[str]) -> np.ndarray:
    """Where these genes are among var_names, (genes,).

    Raises:
        ScreenError: genes are missing, or the layer is.
    """
    if not adata.var_names.is_unique:
        raise ScreenError("var_names are not unique. Call adata.var_names_make_unique().")
    if layer is not None and layer not in adata.layers:
        raise ScreenError(f"There is no layer {layer!r}. There are: {', '.join(adata.layers)}.")
    position = adata.var_names.get_indexer(list(genes))
    if (position < 0).any():
        missing = [gene for gene, p in zip(genes, position, strict=True) if p < 0]
        raise ScreenError(
            f"{len(missing)} of the model's {len(genes)} genes are not in var_names: "
            f"{', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}. "
            "Use the gene names of the screen the model was trained on."
        )
    return position


def read_perturbations(adata: AnnData, columns: Columns) -> np.ndarray:
    """The perturbation labels in canonical form (combinations sorted), strings, (cells,).

    Raises:
        ScreenError: there is no such column; the message lists those there are.
    """
    read_labels(adata, columns.perturbation)
    return canonical(adata.obs[columns.perturbation], columns.control).to_numpy(dtype=str)


def read_labels(adata: AnnData, column: str) -> np.ndarray:
    """An obs column as strings, (cells,).

    Raises:
        ScreenError: there is no such column; the message lists those there are.
    """
    if column not in adata.obs:
        raise ScreenError(
            f"obs has no column {column!r}. It has: {', '.join(map(str, adata.obs.columns))}."
        )
    return adata.obs[column].astype(str).to_numpy(dtype=str)


def training_screen(
    adata: AnnData, columns: Columns, split: Split, genes: Sequence[str]
) -> AnnData:
    """The training cells of a split with the chosen genes; cells without a count in them are left out."""
    cells = split.is_training(adata.obs_names, read_perturbations(adata, columns))
    return with_counts(adata[cells, list(genes)], columns)


def with_counts(adata: AnnData, columns: Columns) -> AnnData:
    """The cells that have a count; adata itself, or a view."""
    survey = Survey.of(count_parts(adata, columns.layer, np.arange(adata.n_vars)))
    counted = survey.stored > 0
    return adata if counted.all() else adata[counted]


def to_cells(
    adata: AnnData,
    columns: Columns,
    genes: Sequence[str],
    design: Design,
    batches: Sequence[str],
    *,
    with_labels: bool = True,
    storage: str = "auto",
) -> tuple[CellStore, tuple[str, ...]]:
    """The cells of a screen on the CPU, and the labels that their codes stand for.

    Counts are read in parts and kept in few bytes, in memory or on disk; the screen is not copied.

    Args:
        adata: the screen.
        columns: where labels, batches and counts are.
        genes: of the model, in its order.
        design: rows of the effect table.
        batches: names the model knows; empty without a batch column.
        with_labels: False for what needs no perturbation (latents): all cells get label 0.
        storage: where the counts are kept: "memory", "disk" or "auto" (`data.placement`).

    Raises:
        ScreenError: missing genes or columns, unknown perturbations or batches, empty cells.
    """
    parts = count_parts(adata, columns.layer, gene_positions(adata, columns.layer, genes))
    survey = Survey.of(parts)
    empty = np.flatnonzero(survey.totals == 0)
    if len(empty):
        names = ", ".join(map(str, adata.obs_names[empty[:5]]))
        raise ScreenError(
            f"{len(empty)} cells have no count in the model's {len(genes)} genes: {names}"
            f"{' ...' if len(empty) > 5 else ''}. Drop them first."
        )
    code = np.zeros(adata.n_obs, dtype=np.int64)
    labels: tuple[str, ...] = ("",)
    matrix = np.zeros((1, len(design.perturbations)), dtype=np.float32)
    if with_labels:
        code, labels = encode_labels(read_perturbations(adata, columns))
        matrix = design.matrix(labels)
    batch = np.zeros(adata.n_obs, dtype=np.int64)
    if batches and with_labels:
        batch = _batch_codes(read_labels(adata, str(columns.batch)), str(columns.batch), batches)
    allocate = allocator(storage, survey.nbytes(), from_file=adata.isbacked)
    counts = compact(parts, survey=survey, allocate=allocate)
    return CellStore(counts, *map(torch.from_numpy, (code, batch, matrix))), labels


def _batch_codes(values: np.ndarray, column: str, batches: Sequence[str]) -> np.ndarray:
    known = {name: i for i, name in enumerate(batches)}
    if unseen := sorted(set(values.tolist()) - set(known)):
        raise ScreenError(
            f"obs[{column!r}] has batches the model was not trained on: {', '.join(unseen[:5])}. "
            f"It knows {', '.join(batches[:10])}."
        )
    return np.asarray([known[value] for value in values.tolist()], dtype=np.int64)
