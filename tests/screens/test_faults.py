import pytest

from sparseshift.errors import ScreenError
from sparseshift.screens.faults import Fault, near, raise_faults, some

FAULT = Fault("obs['gene']", "2 cells have no label", "cell 'a'", "Drop them.")


def test_a_fault_is_one_paragraph() -> None:
    assert str(FAULT) == "obs['gene']: 2 cells have no label (seen: cell 'a'). Drop them."
    assert str(Fault("X", "there is no matrix", "", "Set layer.")) == (
        "X: there is no matrix. Set layer."
    )


def test_all_faults_are_raised_in_one_numbered_list() -> None:
    raise_faults([])
    with pytest.raises(ScreenError) as error:
        raise_faults([FAULT, Fault("X", "there is no matrix", "", "Set layer.")])
    assert str(error.value) == (
        "2 faults in the screen:\n\n"
        "1. obs['gene']: 2 cells have no label\n   seen: cell 'a'\n   cure: Drop them.\n\n"
        "2. X: there is no matrix\n   cure: Set layer."
    )


def test_near_ignores_case() -> None:
    assert near("Gene", ["batch", "gene", "genes"])[0] == "gene"
    assert near("NON-TARGETING", ["A", "non_targeting"]) == ["non_targeting"]
    assert near("xyz", ["gene"]) == []


def test_some_says_how_many_are_left_out() -> None:
    assert some(["a", "b"]) == "'a', 'b'"
    assert some(range(7), 2) == "'0', '1' and 5 more"
