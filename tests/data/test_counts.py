"""Storages of counts against the dense matrix they stand for."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

from sparseshift.data import parts as parts_module
from sparseshift.data.compact import Survey, compact
from sparseshift.data.counts import CountMatrix, DenseCounts, SparseCounts
from sparseshift.data.memory_map import zeros_on_disk
from sparseshift.data.parts import Parts

LAYOUTS = ("dense", "sparse")
every_layout = pytest.mark.parametrize("layout", LAYOUTS)
SMALLEST = {
    1: torch.uint8,
    255: torch.uint8,
    256: torch.int16,
    32_767: torch.int16,
    32_768: torch.float32,
    65_536: torch.float32,
    2**24: torch.float32,
}


def random_counts(
    largest: int = 9, shape: tuple[int, int] = (40, 13), density: float = 0.3
) -> np.ndarray:
    """Counts with empty cells, genes without a count, and the largest somewhere."""
    rng = np.random.default_rng(0)
    counts = rng.integers(1, largest + 1, size=shape) * (rng.random(shape) < density)
    counts[[0, 17, -1]] = 0
    counts[:, [0, 5]] = 0
    counts[3, 4] = largest
    return counts.astype(np.float64)


def everything(counts: CountMatrix) -> np.ndarray:
    return counts.take(torch.arange(counts.n_cells)).numpy()


@every_layout
@pytest.mark.parametrize("largest", SMALLEST)
def test_every_value_comes_back_from_the_smallest_dtype(largest: int, layout: Any) -> None:
    expected = random_counts(largest)
    counts = compact(Parts.of(sparse.csr_matrix(expected)), layout=layout)
    assert counts.dtype == SMALLEST[largest]
    taken = counts.take(torch.arange(40))
    assert taken.dtype == torch.float32
    assert taken.is_contiguous()
    np.testing.assert_array_equal(taken.numpy(), expected)
    np.testing.assert_array_equal(counts.totals.numpy(), expected.sum(1).astype(np.float32))


@every_layout
@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "int32", "int64", "f4", "f8"])
@pytest.mark.parametrize("form", ["numpy", "csr", "csc", "coo", "csr_array"])
def test_every_form_and_dtype_is_read(
    form: str, dtype: str, layout: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts_module, "ELEMENTS", 70)
    monkeypatch.setattr(parts_module, "LEAST_GENES", 2)
    matrix = random_counts().astype(dtype)
    given = (
        matrix
        if form == "numpy"
        else getattr(sparse, f"{form}_matrix" if form != "csr_array" else form)(matrix)
    )
    assert len(list(Parts.of(given))) > 1
    counts = compact(Parts.of(given), layout=layout)
    np.testing.assert_array_equal(everything(counts), matrix.astype(np.float32))


@every_layout
@pytest.mark.parametrize(
    "matrix",
    [
        random_counts() / 7.0,
        -random_counts(),
        random_counts(2**24) * 2.0 + 1.0,
        np.zeros((4, 3)),
        np.zeros((0, 3)),
        np.zeros((3, 0)),
    ],
    ids=["fractions", "negative", "beyond 2**24", "all zero", "no cells", "no genes"],
)
def test_other_matrices_are_what_float32_makes_of_them(matrix: np.ndarray, layout: Any) -> None:
    for given in (matrix, sparse.csr_matrix(matrix), sparse.csc_matrix(matrix)):
        counts = compact(Parts.of(given), layout=layout)
        assert (counts.n_cells, counts.n_genes) == matrix.shape
        np.testing.assert_array_equal(everything(counts), matrix.astype(np.float32))


@every_layout
def test_stored_zeros_repeats_and_disorder_mean_what_scipy_means(layout: Any) -> None:
    data = np.array([3.0, 0.0, 4.0, 200.0, 100.0])
    matrix = sparse.csr_matrix((data, [5, 2, 0, 1, 1], [0, 3, 3, 5]), shape=(3, 6))
    expected = matrix.toarray()
    before = [part.copy() for part in (matrix.data, matrix.indices, matrix.indptr)]
    counts = compact(Parts.of(matrix), layout=layout)
    np.testing.assert_array_equal(everything(counts), expected)
    assert counts.dtype == torch.int16  # 200 + 100
    for part, kept in zip((matrix.data, matrix.indices, matrix.indptr), before, strict=True):
        np.testing.assert_array_equal(part, kept)


@every_layout
@pytest.mark.parametrize("index", [[], [7], [3, 3, 3], [39, 0, 17, 3, 0]])
def test_take_is_indexing(index: list[int], layout: Any) -> None:
    matrix = random_counts()
    taken = compact(Parts.of(matrix), layout=layout).take(torch.tensor(index, dtype=torch.int64))
    np.testing.assert_array_equal(taken.numpy(), matrix[np.array(index, dtype=int)])


@pytest.mark.parametrize("n_genes", [2**15, 2**15 + 1])
def test_the_last_gene_of_many_is_found(n_genes: int) -> None:
    matrix = sparse.csr_matrix(([5, 6], ([0, 1], [n_genes - 1, 0])), shape=(2, n_genes))
    counts = compact(Parts.of(matrix))
    assert isinstance(counts, SparseCounts)
    np.testing.assert_array_equal(everything(counts), matrix.toarray())


@pytest.mark.parametrize("density", [0.01, 0.03, 0.1, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("largest", [9, 999, 99_999])
def test_less_than_the_counts_as_given(density: float, largest: int) -> None:
    shape = (300, 200)
    matrix = sparse.csr_matrix(random_counts(largest, shape, density), dtype=np.float32)
    csr = matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
    given = min(csr, 4 * shape[0] * shape[1])
    survey = Survey.of(Parts.of(matrix))
    counts = compact(Parts.of(matrix), survey=survey)
    assert survey.nbytes_given == given
    assert survey.nbytes() == counts.nbytes
    held = counts.nbytes - counts.totals.nbytes
    assert held <= given
    if largest <= 32_767 and density >= 0.03:
        assert held <= 0.75 * given
    smaller = min(survey.nbytes("dense"), survey.nbytes("sparse"))
    assert counts.nbytes <= max(smaller, 0.75 * given)  # of which a dense batch is worth the rest


def test_dense_counts_of_dense_screens_and_sparse_of_sparse() -> None:
    for density, kind in ((0.3, DenseCounts), (0.03, SparseCounts)):
        counts = compact(Parts.of(random_counts(9, (300, 200), density)))
        assert isinstance(counts, kind)


@every_layout
def test_on_disk_is_the_same(layout: Any) -> None:
    matrix = random_counts(999)
    in_memory = compact(Parts.of(matrix), layout=layout)
    on_disk = compact(Parts.of(matrix), layout=layout, allocate=zeros_on_disk)
    for name, tensor in on_disk.tensors().items():
        assert torch.equal(tensor, in_memory.tensors()[name])
        assert tensor.dtype == in_memory.tensors()[name].dtype
    index = torch.tensor([5, 5, 0])
    assert torch.equal(on_disk.take(index), in_memory.take(index))
    assert torch.equal(on_disk.to("cpu").take(index), in_memory.take(index))
