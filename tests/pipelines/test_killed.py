"""A run that is killed in the middle of training goes on when it is started again."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

RUN = ("run", "--env", "one_fit", "--pipelines", "data_engineering,modelling")
RESULTS = (
    "06_models/simulated/full/svae_plus/seed_0/model/weights.safetensors",
    "06_models/simulated/full/svae_plus/seed_0/model/model.json",
    "07_model_output/simulated/full/svae_plus/seed_0/history.csv",
    "08_reporting/simulated/full/svae_plus/seed_0/metrics.csv",
)


@pytest.fixture
def project(project: Path) -> Path:
    """One fit in two phases, long enough to be killed, without tracking."""
    folder = project / "conf" / "one_fit"
    shutil.copytree(project / "conf" / "test", folder)
    parameters = yaml.safe_load((folder / "parameters.yml").read_text())
    parameters["run"]["fits"] = {"held_out": [], "full": ["svae_plus"]}
    parameters["models"]["svae_plus"]["options"] |= {"steps": 3000, "patience": 50}
    (folder / "parameters.yml").write_text(yaml.safe_dump(parameters))
    (folder / "mlflow.yml").write_text("enabled: false")
    (project / "data" / "01_raw").unlink()
    (project / "data" / "01_raw").mkdir()
    return project


def content(path: Path) -> bytes:
    """The bytes of a file, without the one number that cannot repeat itself."""
    text = path.read_bytes()
    return re.sub(rb'"cpu_seconds": [0-9.e-]+', b"", text) if path.suffix == ".json" else text


def kill_in_training(project: Path, state: str) -> None:
    """Starts the run, and kills it once this state has been written."""
    command = [sys.executable, "-m", "kedro", *RUN]
    with subprocess.Popen(
        command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "DO_NOT_TRACK": "true"},
    ) as process:  # fmt: skip
        end = time.monotonic() + 120
        while not list(project.glob(f"data/06_models/checkpoints/*/{state}.safetensors")):
            assert process.poll() is None, "the run ended before it was killed"
            assert time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    project: Path, run_kedro: Callable[..., Any]
) -> None:
    kill_in_training(project, "phase_1")
    assert not (project / "data" / RESULTS[0]).exists()
    resumed = run_kedro(project, *RUN)
    assert resumed.code == 0, resumed.text
    (found,) = re.findall(r"Going on from a checkpoint: (\d+) of (\d+) epochs(?!,)", resumed.text)
    assert 0 < int(found[0]) < int(found[1])
    assert "Going on from a checkpoint: 600 of 600 epochs, finished" in resumed.text
    after_kill = {name: content(project / "data" / name) for name in RESULTS}
    shutil.rmtree(project / "data" / "06_models")  # states too: the fit is trained anew
    whole = run_kedro(
        project, "run", "--env", "one_fit", "--namespaces", "simulated.full.svae_plus"
    )
    assert whole.code == 0, whole.text
    assert "from a checkpoint" not in whole.text
    for name in RESULTS:
        assert content(project / "data" / name) == after_kill[name], name
