"""A screen cut out of a file: cells by obs, genes by var, counts in one pass over the matrix."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from anndata import AnnData

from sparseshift.screens.cut.choice import Choice, Cut, choose
from sparseshift.screens.cut.parts import assemble, cut_key, read_pieces
from sparseshift.screens.cut.rows import reader_of
from sparseshift.screens.cut.source import Source, open_source


def cut_screen(
    path: Path, cut: Cut, *, perturbation: str, folder: Path | None = None
) -> tuple[AnnData, pd.DataFrame]:
    """Takes some cells and genes of a file that need not fit into memory.

    Memory is that of the result, and a block and a piece of the file besides (`rows.BLOCK_BYTES`).

    Args:
        path: An h5ad file or zarr store: dense, CSR or CSC.
        cut: What to take.
        perturbation: obs column of the result that gets the canonical labels.
        folder: Where finished pieces are kept, for a cut that was stopped to go on; None: in a
            temporary folder.

    Returns:
        The screen, with its counts as CSR in X and obs and var as in the file; and a table of what
        each step left.

    Raises:
        ScreenError: The file is not AnnData, lacks a column, or nothing of it is wanted.
    """
    with open_source(path, cut.layer) as source, TemporaryDirectory() as temporary:
        choice = choose(source.obs, source.var, cut)
        key = cut_key(source, cut.layer, choice.cells, choice.genes)
        reader = reader_of(source.matrix, choice.cells, choice.genes)
        files = read_pieces(reader, (folder or Path(temporary)) / key, path.name)
        width = len(choice.cells if reader.by_gene else choice.genes)
        counts = assemble(files, width)
        screen = _screen(source, choice, counts.T.tocsr() if reader.by_gene else counts)
    screen.obs[perturbation] = pd.Categorical(choice.labels)
    if cut.layer is not None:  # what names the layer finds it here too
        screen.layers[cut.layer] = screen.X
    return screen, choice.steps


def _screen(source: Source, choice: Choice, counts: object) -> AnnData:
    obs, var = source.obs.iloc[choice.cells].copy(), source.var.iloc[choice.genes].copy()
    for frame in (obs, var):
        for name in frame.select_dtypes("category"):
            frame[name] = frame[name].cat.remove_unused_categories()
    return AnnData(
        X=counts,
        obs=obs,
        var=var,
        uns={
            "cut": json.dumps(
                {"file": source.path.name, "cells": len(source.obs), "genes": len(source.var)}
            )
        },
    )
