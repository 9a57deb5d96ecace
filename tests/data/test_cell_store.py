"""A store of cells gives what the cells themselves give."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sparseshift.data import placement
from sparseshift.data.cell_store import CellStore
from sparseshift.data.cells import Cells, CellSource
from sparseshift.data.compact import compact
from sparseshift.data.memory_map import zeros_on_disk
from sparseshift.data.parts import Parts
from sparseshift.errors import OptionError


def cells_and_stores() -> tuple[Cells, dict[str, CellStore]]:
    rng = np.random.default_rng(1)
    counts = rng.poisson(rng.gamma(0.3, 3.0, size=(50, 9)))
    codes = (torch.arange(50) % 3, torch.arange(50) % 2, torch.eye(3))
    storages = {
        "dense": compact(Parts.of(counts), layout="dense"),
        "sparse": compact(Parts.of(counts), layout="sparse"),
        "disk": compact(Parts.of(counts), allocate=zeros_on_disk),
    }
    stores = {name: CellStore(storage, *codes) for name, storage in storages.items()}
    return Cells(torch.from_numpy(counts).float(), *codes), stores


CELLS, STORES = cells_and_stores()
every_store = pytest.mark.parametrize("name", STORES)


def same(a: Cells, b: Cells) -> bool:
    pairs: list[tuple[Tensor, Tensor]] = list(zip(a, b, strict=True))
    return all(x.dtype == y.dtype and torch.equal(x, y) for x, y in pairs)


@every_store
@pytest.mark.parametrize("index", [[], [4], [49, 0, 0, 7]])
def test_take(name: str, index: list[int]) -> None:
    places = torch.tensor(index, dtype=torch.int64)
    assert same(STORES[name].take(places), CELLS.take(places))


@every_store
def test_a_subset_of_a_subset_shares_the_counts(name: str) -> None:
    store, first = STORES[name], torch.randperm(50, generator=torch.Generator().manual_seed(0))
    inner = store.subset(first[:30]).subset(torch.tensor([29, 3, 3, 0]))
    expected = CELLS.take(first[[29, 3, 3, 0]])
    assert inner.counts is store.counts
    assert inner.n_cells == 4
    assert same(inner.take(torch.arange(4)), expected)
    assert torch.equal(inner.label, expected.label)
    assert store.subset(torch.tensor([], dtype=torch.int64)).n_cells == 0


@every_store
@pytest.mark.parametrize("size", [1, 7, 50, 99])
def test_chunks_are_all_cells_in_order(name: str, size: int) -> None:
    order = torch.arange(49, -1, -1)
    sources: tuple[CellSource, ...] = (STORES[name].subset(order), CELLS.take(order))
    for chunks in zip(*(source.chunks(size) for source in sources), strict=True):
        assert same(*chunks)
        assert 0 < chunks[0].n_cells <= size
    together = torch.cat([chunk.label for chunk in sources[0].chunks(size)])
    assert torch.equal(together, CELLS.label.flip(0))


def test_no_cells_are_one_empty_chunk() -> None:
    none = STORES["dense"].subset(torch.tensor([], dtype=torch.int64))
    (chunk,) = none.chunks(10)
    assert chunk.counts.shape == (0, 9)


@every_store
def test_moving_changes_nothing(name: str) -> None:
    index = torch.tensor([3, 1])
    view = STORES[name].subset(torch.arange(10, 20))
    for moved in (
        view.to("cpu"),
        view.streamed_to("cpu"),
        placement.place(view, torch.device("cpu"), "disk"),
        placement.place(view, torch.device("cpu"), "memory"),
    ):
        assert moved.device == torch.device("cpu")
        assert same(moved.take(index), view.take(index))


@every_store
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_streaming_to_an_accelerator_changes_nothing(name: str) -> None:
    index = torch.tensor([3, 1])
    view = STORES[name].subset(torch.arange(10, 20))
    for moved, kept in ((view.to("cuda"), "cuda"), (view.streamed_to("cuda"), "cpu")):
        assert (moved.device.type, moved.counts.device.type) == ("cuda", kept)
        assert same(moved.take(index.cuda()).to("cpu"), view.take(index))


@pytest.mark.parametrize(
    ("storage", "nbytes", "from_file", "on_disk"),
    [
        ("memory", 2**60, True, False),
        ("disk", 1, False, True),
        ("auto", 1, False, False),
        ("auto", 1, True, True),
        ("auto", 499, False, False),
        ("auto", 501, False, True),
    ],
)
def test_where_counts_are_kept(
    storage: str, nbytes: int, from_file: bool, on_disk: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "available_memory", lambda: 1000)
    chosen: Any = placement.allocator(storage, nbytes, from_file=from_file)
    assert (chosen is zeros_on_disk) == on_disk


def test_without_knowing_the_memory_auto_is_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "available_memory", lambda: None)
    assert placement.allocator("auto", 2**60, from_file=False) is np.zeros


def test_an_unknown_storage_is_refused() -> None:
    with pytest.raises(OptionError, match="storage='ram' is not one of 'auto', 'memory', 'disk'"):
        placement.check_storage("ram")
