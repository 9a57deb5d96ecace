"""`kedro doctor` and `kedro new-screen` without --perturbation: what they print, write and leave alone."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import sparse

GUIDES = [
    f"{gene}-{i}" for gene in ("non-targeting", "STAT1", "JAK2", "KLF1", "SPI1") for i in (1, 2)
]
GENES = ["STAT1", "JAK2", "KLF1", "SPI1", *(f"G{i}" for i in range(11))]
# Several commands, then a run, in one process, for a process takes seconds to begin.
SEVERAL = """
import json, sys
from pathlib import Path
from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project
bootstrap_project(Path.cwd())
from sparseshift.cli import cli
done = [CliRunner().invoke(cli, command) for command in json.loads(sys.argv[1])]
from kedro.framework.session import KedroSession
with KedroSession.create(env="mine") as session:
    session.run(pipeline_names=["data_engineering"])
print("RESULT" + json.dumps([[one.exit_code, one.output] for one in done]))
"""


class Done(NamedTuple):
    """A command that has run."""

    code: int
    text: str


def commands(project: Path, *given: list[str]) -> list[Done]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SEVERAL, json.dumps(given)],
        cwd=project, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "RESULT" in done.stdout, done.stderr
    return [Done(*one) for one in json.loads(done.stdout.rpartition("RESULT")[2])]


def guides_in_a_layer() -> ad.AnnData:
    """400 cells; labels name guides, some are missing, X is no counts."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(2.0, (400, len(GENES))).astype(np.float32)
    obs = pd.DataFrame(
        {"guide_id": np.repeat(GUIDES, 40), "lane": np.tile(["a", "b"], 200)},
        index=[f"cell{i}" for i in range(400)],
    )
    obs.iloc[:5, 0] = "unassigned"
    return ad.AnnData(sparse.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=GENES))


@pytest.fixture(scope="module")
def examined(
    tmp_path_factory: pytest.TempPathFactory, make_project: Callable[[Path], Path]
) -> tuple[Path, dict[str, Done]]:
    """A project in which the doctor looked at files and wrote a configuration, which was then run."""
    folder = tmp_path_factory.mktemp("doctor")
    project, file = make_project(folder / "project"), folder / "mine.h5ad"
    screen = guides_in_a_layer()
    screen.write_h5ad(file)
    screen.X = screen.X.log1p()
    screen.write_h5ad(folder / "log.h5ad")
    for env, perturbation in (("sick", "guide"), ("away", "guide_id")):
        (project / "conf" / env).mkdir()
        text = {"run": {"screens": [env]}, "screens": {env: {
            "columns": {"perturbation": perturbation, "control": None},
            "splits": {"held_out": {"held_out": 1}, "full": {"held_out": 0}},
        }}}  # fmt: skip
        (project / "conf" / env / "parameters.yml").write_text(yaml.safe_dump(text))
        path = {"filepath": str(folder / ("mine.h5ad" if env == "sick" else "nowhere.h5ad"))}
        entry = {f"{env}.raw": {"type": "sparseshift.datasets.AnnDataDataset", **path}}
        (project / "conf" / env / "catalog.yml").write_text(yaml.safe_dump(entry))
    conf = files(project)
    wanted = {
        "file": ["doctor", "--file", str(file)],
        "log": ["doctor", "--file", str(folder / "log.h5ad"), "--name", "log"],
        "write": ["doctor", "--file", str(file), "--name", "mine", "--write"],
        "again": ["doctor", "--file", str(file), "--name", "mine", "--write"],
        "env": ["doctor", "--env", "mine"],
        "sick": ["doctor", "--env", "sick"],
        "away": ["doctor", "--env", "away"],
        "norman": ["doctor", "--env", "norman"],
        "test": ["doctor", "--env", "test"],
        "base": ["doctor"],
        "nope": ["doctor", "--env", "nope"],
        "both": ["doctor", "--env", "test", "--file", str(file)],
        "write env": ["doctor", "--env", "test", "--write"],
        "no file": ["doctor", "--file", str(folder / "nowhere.h5ad")],
        "new": ["new-screen", "new", "--file", str(file)],
        "corrected": ["new-screen", "corrected", "--file", str(file), "--perturbation", "guide_id", "--batch", "lane"],
    }  # fmt: skip
    done = dict(zip(wanted, commands(project, *wanted.values()), strict=True))
    written = {path.split("/")[1] for path in files(project) - conf if path.startswith("conf")}
    assert written == {"mine", "new", "corrected"}
    return project, done


def files(project: Path) -> set[str]:
    return {str(path.relative_to(project)) for path in project.rglob("*") if path.is_file()}


def test_a_file_is_examined(examined: Any) -> None:
    _, done = examined
    assert done["file"].code == 0, done["file"].text
    for words in [
        "Recognised: obs['guide_id']",
        "Faults: none",
        "cells with 'unassigned' are left out",
        "8 fits",
    ]:
        assert words in done["file"].text
    assert done["log"].code == 1
    assert "they look log-normalised" in done["log"].text
    assert done["no file"].code == 1
    assert "There is no file" in done["no file"].text


def test_the_configuration_is_written_once(examined: Any) -> None:
    project, done = examined
    assert done["write"].code == 0
    assert (
        "Wrote conf/mine/catalog.yml, conf/mine/parameters.yml. Next: kedro run --env mine"
        in done["write"].text
    )
    assert (project / "conf/mine/parameters.yml").is_file()
    assert done["again"].code == 1
    assert "conf/mine is there already. Take another name, or --force." in done["again"].text


def test_environments_are_examined(examined: Any) -> None:
    _, done = examined
    assert done["env"].code == 0, done["env"].text
    assert "== mine ==" in done["env"].text
    assert "The configuration runs as it is." in done["env"].text
    assert done["sick"].code == 1
    assert "obs['guide']: there is no such column" in done["sick"].text
    assert "Did you mean 'guide_id'?" in done["sick"].text
    assert "What the file suggests:" in done["sick"].text
    assert done["away"].code == 1
    assert "There is no file" in done["away"].text
    assert done["norman"].code == 0
    assert "the first run downloads it" in done["norman"].text
    assert done["test"].code == 0
    assert "it is simulated: there is no file to look at" in done["test"].text
    assert done["base"].code == 0
    assert "== papalexi ==" in done["base"].text
    assert "== norman ==" in done["base"].text


def test_an_environment_that_is_not_there_is_named(examined: Any) -> None:
    _, done = examined
    assert done["nope"].code == 1
    assert "There is no environment conf/nope. There are: away, base, " in done["nope"].text


def test_options_that_do_not_go_together(examined: Any) -> None:
    _, done = examined
    assert done["both"].code == 2
    assert "Give --env or --file, not both." in done["both"].text
    assert done["write env"].code == 2
    assert "--write needs --file" in done["write env"].text


def test_new_screen_recognises_what_is_not_said(examined: Any) -> None:
    project, done = examined
    assert done["new"].code == 0, done["new"].text
    assert "recognised: it names guides, 8 of 4 genes" in done["new"].text
    assert "Next: kedro run --env new" in done["new"].text
    texts = [
        (project / f"conf/{name}/parameters.yml").read_text()
        for name in ("mine", "new", "corrected")
    ]
    assert texts[1] == texts[0].replace("mine", "new")
    assert texts[2] == texts[0].replace("mine", "corrected")


def test_what_the_doctor_writes_runs(examined: Any) -> None:
    project, _ = examined
    screen = ad.read_h5ad(project / "data/03_primary/mine/screen.h5ad")
    truth = guides_in_a_layer().obs["guide_id"].str[:-2].replace({"non-targeting": "control"})
    assert screen.n_obs == 395
    assert screen.obs["perturbation"].astype(str).tolist() == truth[screen.obs_names].tolist()
    assert (project / "data/02_intermediate/mine/raw.h5ad").is_file()
