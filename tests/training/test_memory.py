import gc

import pytest

from sparseshift.training.memory import undisturbed


class Node:
    """Refers to itself."""

    def __init__(self) -> None:
        self.me = self


def test_old_objects_are_set_aside_inside_and_put_back_also_after_an_error() -> None:
    before = gc.get_freeze_count()
    with undisturbed():
        assert gc.get_freeze_count() > before
    assert gc.get_freeze_count() == 0
    with pytest.raises(RuntimeError, match="stop"), undisturbed():
        raise RuntimeError("stop")
    assert gc.get_freeze_count() == 0


def test_new_cycles_are_still_collected() -> None:
    with undisturbed():
        gc.collect()
        for _ in range(100):
            Node()
        assert gc.collect() >= 100
