import numpy as np
import pandas as pd
import pytest

from sparseshift.errors import OptionError
from sparseshift.screens.columns import canonical
from sparseshift.screens.cut import LabelRule

GEARS = LabelRule(("ctrl",), "control")
SCPERTURB = LabelRule(("control",), "control", separator="_")
SC_PERT = LabelRule(("NegCtrl*", "[0-9]"), "control", separator="_", pattern="^(.+?)__")
GUIDES = LabelRule(("NT*", "non-targeting*"), "NT", separator=None, part="^(.+)_[0-9]+$")


@pytest.mark.parametrize(
    ("rule", "label", "expected"),
    [
        (GEARS, "ctrl", "control"),
        (GEARS, "A+ctrl", "A"),
        (GEARS, "ctrl+A", "A"),
        (GEARS, "ctrl+ctrl", "control"),
        (GEARS, " B + A ", "A+B"),
        (SCPERTURB, "control", "control"),
        (SCPERTURB, "CNN1_CBL", "CBL+CNN1"),
        (SCPERTURB, "HLA-A", "HLA-A"),
        (SC_PERT, "CBL_CNN1__CBL_CNN1", "CBL+CNN1"),
        (SC_PERT, "NegCtrl0_CBL__NegCtrl0_CBL", "CBL"),
        (SC_PERT, "NegCtrl10_NegCtrl0__NegCtrl10_NegCtrl0", "control"),
        (SC_PERT, "TGFBR2_IGDCC3_2__TGFBR2_IGDCC3_2", "IGDCC3+TGFBR2"),
        (GUIDES, "JAK2_3", "JAK2"),
        (GUIDES, "H4C3_1", "H4C3"),
        (GUIDES, "STAT1", "STAT1"),
        (GUIDES, "NT_4", "NT"),
        (LabelRule(("NT",), "NT", part="^(.+)g[0-9]+$"), "NTg1", "NT"),
        (LabelRule(("NT",), "NT", separator=None, part="^(.+)g[0-9]+$"), "NTg1", "NT"),
        (LabelRule(separator=None), "AAAS_+_5.23|AAAS_-_6.2", "AAAS_plus_5.23|AAAS_-_6.2"),
        (LabelRule(), "A+A", "A"),
    ],
)
def test_the_label_of_a_file_becomes_canonical(rule: LabelRule, label: str, expected: str) -> None:
    assert rule.canonical(label) == expected
    assert rule.canonical(rule.canonical(label)) in {expected, rule.canonical(expected)}


def test_canonical_labels_stay_what_they_are() -> None:
    values = pd.Series(["A", "A+B", "control", np.nan], index=list("wxyz"))
    by_rule = LabelRule(("control",), "control").apply(values)
    pd.testing.assert_series_equal(by_rule, canonical(values, "control"))
    assert by_rule["z"] == ""


def test_a_rule_that_cannot_work_is_refused() -> None:
    with pytest.raises(OptionError, match="give both, what the control is called in the file"):
        LabelRule(("ctrl",))
    with pytest.raises(OptionError, match="separator is empty; give null"):
        LabelRule(separator="")
    with pytest.raises(OptionError, match="is no regular expression"):
        LabelRule(pattern="(")
    with pytest.raises(OptionError, match="has no group: put what counts in brackets"):
        LabelRule(part="[0-9]+$")
