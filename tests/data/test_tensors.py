import numpy as np
import torch

from sparseshift.data.cells import Cells, encode_labels


def test_labels_decode_to_themselves() -> None:
    labels = np.array(["b", "a", "c", "a", "b"], dtype=object)
    codes, names = encode_labels(labels)
    assert codes.dtype == np.int64
    assert names == ("a", "b", "c")
    assert [names[code] for code in codes] == labels.tolist()


def test_take_gathers_every_field_but_the_design() -> None:
    rng = np.random.default_rng(0)
    cells = Cells(
        torch.from_numpy(rng.poisson(3.0, size=(5, 4)).astype(np.float32)),
        torch.arange(5),
        torch.tensor([0, 1, 0, 1, 0]),
        torch.eye(5),
    )
    index = torch.tensor([4, 0, 0])
    taken = cells.take(index)
    assert taken.n_cells == 3
    for field in ("counts", "label", "batch"):
        assert torch.equal(getattr(taken, field), getattr(cells, field)[index])
    assert torch.equal(taken.design, cells.design)
    moved = cells.to("cpu")
    assert all(torch.equal(a, b) for a, b in zip(moved, cells, strict=True))
