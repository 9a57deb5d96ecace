import numpy as np
import pytest

from sparseshift.data.design import Design, parts
from sparseshift.errors import ScreenError

LABELS = ("A+B", "C", "A", "ctrl", "A+B+C", "B")


def test_parts_are_stripped_and_in_order() -> None:
    assert parts(" B + A ") == ["B", "A"]
    assert parts("A") == ["A"]


def test_additive_rows_are_genes_and_labels_sum_them() -> None:
    design = Design.of_labels(LABELS, "ctrl", additive=True)
    assert design == Design(("A", "B", "C"), "ctrl", additive=True)
    matrix = design.matrix(LABELS)
    assert matrix.dtype == np.float32
    assert matrix.tolist() == [[1, 1, 0], [0, 0, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1], [0, 1, 0]]
    assert design.matrix(["B+A"]).tolist() == design.matrix(["A+B"]).tolist()
    assert design.matrix(["A+ctrl"]).tolist() == design.matrix(["A"]).tolist()


def test_a_combination_may_have_parts_never_seen_alone() -> None:
    design = Design.of_labels(["Y+X", "ctrl"], "ctrl", additive=True)
    assert design.perturbations == ("X", "Y")


def test_table_has_a_row_for_every_label_but_the_control() -> None:
    design = Design.of_labels(LABELS, "ctrl", additive=False)
    assert design.perturbations == ("A", "A+B", "A+B+C", "B", "C")
    matrix = design.matrix(LABELS)
    assert (matrix.sum(1) == [1, 1, 1, 0, 1, 1]).all()
    np.testing.assert_array_equal(design.matrix(design.perturbations), np.eye(5))


def test_additive_equals_table_on_singles() -> None:
    singles = ["B", "ctrl", "A", "C", "A"]
    tables = [Design.of_labels(singles, "ctrl", additive=a) for a in (True, False)]
    assert tables[0].perturbations == tables[1].perturbations
    np.testing.assert_array_equal(tables[0].matrix(singles), tables[1].matrix(singles))


@pytest.mark.parametrize("additive", [True, False])
def test_without_control_every_label_is_perturbed(additive: bool) -> None:
    design = Design.of_labels(["ctrl", "A"], None, additive=additive)
    assert design.perturbations == ("A", "ctrl")
    assert design.matrix(["A", "ctrl"]).tolist() == [[1, 0], [0, 1]]


def test_no_labels_make_an_empty_matrix() -> None:
    design = Design.of_labels(["ctrl"], "ctrl", additive=True)
    assert design.matrix(["ctrl"]).shape == (1, 0)
    assert design.matrix([]).shape == (0, 0)


def test_unknown_perturbations_are_named_with_what_to_do() -> None:
    design = Design.of_labels(LABELS, "ctrl", additive=True)
    assert design.unknown(["A+Z", "Y", "ctrl", "B"]) == ["Y", "Z"]
    with pytest.raises(
        ScreenError, match=r"not trained on: Y, Z\. It knows A, B, C\. Call adapt\(\)"
    ):
        design.matrix(["A+Z", "Y", "ctrl"])
    many = [f"X{i:02d}" for i in range(12)]
    with pytest.raises(ScreenError, match=r"X09 and more\. It knows"):
        design.matrix(many)


def test_unknown_to_a_table_is_the_whole_label() -> None:
    design = Design.of_labels(["A", "B"], "ctrl", additive=False)
    assert design.unknown(["A+B", "A", "ctrl"]) == ["A+B"]


def test_extend_adds_rows_at_the_end_and_keeps_the_others() -> None:
    design = Design.of_labels(["B", "C"], "ctrl", additive=True)
    longer = design.extend(["Z", "B", "A"])
    assert longer.perturbations == ("B", "C", "Z", "A")
    assert (longer.control, longer.additive) == ("ctrl", True)
    old = longer.matrix(["B", "B+C", "ctrl"])
    np.testing.assert_array_equal(old[:, :2], design.matrix(["B", "B+C", "ctrl"]))
    assert not old[:, 2:].any()
    assert longer.matrix(["A+B"]).tolist() == [[1, 0, 0, 1]]
    assert design.perturbations == ("B", "C")
