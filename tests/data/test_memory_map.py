"""Arrays on disk leave nothing behind."""

from pathlib import Path

import numpy as np
import pytest

from sparseshift.data.memory_map import zeros_on_disk


@pytest.mark.parametrize("shape", [(3, 4), (5,), (0, 4), (0,)])
def test_an_array_of_zeros_without_a_trace(shape: tuple[int, ...], tmp_path: Path) -> None:
    array = zeros_on_disk(shape, np.dtype(np.int16), tmp_path)
    assert array.shape == shape
    assert array.dtype == np.int16
    assert not array.any()
    array[...] = 7
    assert (array == 7).all()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_error_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"(?i)no space|too large"):
        zeros_on_disk((2**30, 2**30), np.dtype(np.uint8), tmp_path)
    assert list(tmp_path.iterdir()) == []
