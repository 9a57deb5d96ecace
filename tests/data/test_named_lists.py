import json
from pathlib import Path

import pandas as pd
import pytest

from sparseshift.data.named_lists import read_named_list, to_named_lists
from sparseshift.errors import ScreenError

DATA = Path(__file__).parents[2] / "data" / "01_raw"


def test_a_file_gives_the_lists_back() -> None:
    content = json.loads(json.dumps(to_named_lists({"x": ["B", "A"], "y": ["C"]})))
    assert read_named_list(content, "x") == ["A", "B"]
    assert read_named_list(content, "y") == ["C"]


def test_a_changed_list_is_refused() -> None:
    content = to_named_lists({"x": ["B", "A"], "y": ["A", "B"]})
    assert content["x"]["sha256"] != content["y"]["sha256"]
    content["x"]["held_out"].append("C")
    with pytest.raises(
        ScreenError, match=r"list 'x' .*was changed after it was made.*git checkout"
    ):
        read_named_list(content, "x")
    with pytest.raises(ScreenError, match=r"There is no list 'z' .*There are: x, y"):
        read_named_list(content, "z")


def test_the_papers_pathways_are_shipped() -> None:
    content = json.loads((DATA / "replogle2022_held_out.json").read_text())
    pathways = pd.read_csv(DATA / "replogle2022_pathways.tsv", sep="\t")
    assert set(content) == set(pathways["pathway"])
    for name, group in pathways.groupby("pathway"):
        assert read_named_list(content, str(name)) == sorted(group["gene"])
    sizes = pathways["pathway"].value_counts()
    assert (
        sizes["s40_ribosomal_unit"],
        sizes["s39_ribosomal_unit"],
        sizes["s60_ribosomal_unit"],
    ) == (97, 43, 53)


def test_the_papers_lists_are_those_of_the_paper() -> None:
    modules = pd.read_csv(DATA / "replogle2022_perturbation_modules.tsv", sep="\t")
    programs = pd.read_csv(DATA / "replogle2022_expression_programs.tsv", sep="\t")
    assert modules["module"].nunique() == 60
    assert programs["program"].nunique() == 38
    assert (modules["gene"].nunique(), programs["gene"].nunique()) == (681, 1186)
    assert set(modules.loc[modules["gene"].duplicated(), "gene"]) == {"CCNK", "LSM5"}
