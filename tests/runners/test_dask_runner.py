"""Nodes on two worker processes: results, failures, lost workers, and what is refused."""

import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import cloudpickle
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline
from kedro_datasets.text import TextDataset

from sparseshift.errors import ScreenError
from sparseshift.runners import DaskRunner
from sparseshift.runners.faults import DaskRunnerError

KEDRO = Path(sys.executable).with_name("kedro")
MINI = Path(__file__).parents[1] / "hooks" / "mini_project"
DASK = "--runner sparseshift.runners.DaskRunner --runner-params"
VAE = {f"papalexi.held_out.vae.seed_{seed}" for seed in (0, 1)}
SVAE = "papalexi.held_out.svae_plus.seed_0"

# Workers cannot import a test file.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Outcome(NamedTuple):
    """A finished `kedro run`."""

    project: Path
    code: int
    text: str
    process_group: int

    def files(self) -> dict[str, bytes]:
        data = self.project / "data"
        return {
            str(path.relative_to(data)): path.read_bytes()
            for path in data.rglob("*")
            if path.is_file() and "report.md" not in path.parts  # versioned: a folder by time
        }

    def states(self) -> dict[str, str]:
        return {run.info.run_name: run.info.status for run in _runs(self.project)}


def _runs(project: Path) -> list[Any]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("sparseshift")
    return client.search_runs([experiment.experiment_id] if experiment else ["0"])


def _kedro_run(project: Path, options: str, interrupt: bool = False) -> Outcome:
    """Runs the miniature project; an interruption comes as soon as a node sleeps."""
    inherited = {
        key: text
        for key, text in os.environ.items()
        if not key.startswith(("PYTEST", "MLFLOW", "DASK"))
    }
    with (project / "log.txt").open("w+") as log:
        process = subprocess.Popen(
            [str(KEDRO), "run", *shlex.split(options)],
            cwd=project,
            env=inherited | {"COLUMNS": "400", "DO_NOT_TRACK": "true"},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        while interrupt and process.poll() is None:
            if list(project.glob("*.asleep")):
                os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal does
                break
            time.sleep(0.05)
        process.wait(120)
        log.seek(0)
        return Outcome(project, process.returncode, log.read(), process.pid)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a scheduler with two workers, of which one has the resource GPU."""
    from distributed import Nanny, Scheduler, SpecCluster

    local = {"host": "127.0.0.1", "dashboard_address": ":0"}
    options = {**local, "nthreads": 1, "memory_limit": 0}
    workers = {
        "plain": {"cls": Nanny, "options": options},
        "gpu": {"cls": Nanny, "options": options | {"resources": {"GPU": 1}}},
    }
    sys.path.append(str(MINI / "src"))  # worker processes inherit it
    with SpecCluster(workers=workers, scheduler={"cls": Scheduler, "options": local}) as running:
        yield running.scheduler_address
    sys.path.remove(str(MINI / "src"))


@pytest.fixture(scope="module")
def runs(
    cluster: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Outcome]]:
    """Runs of the miniature project by name, two at a time, each in a copy of its own."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # inherited from a shell's background job, and every process started here would too
        signal.signal(signal.SIGINT, signal.default_int_handler)
    template = tmp_path_factory.mktemp("template") / "project"
    shutil.copytree(MINI, template)
    (template / "data").mkdir()
    (template / "data" / "screen.csv").write_text("gene\nA\nB\nC\nD\n")
    _runs(template)  # makes the database, which takes seconds

    def start(options: str, **more: Any) -> Future[Outcome]:
        project = tmp_path_factory.mktemp("run") / "project"
        shutil.copytree(template, project)
        return pool.submit(_kedro_run, project, options, **more)

    with ThreadPoolExecutor(2) as pool:
        futures = {
            # no quotes around an address; two runs at a time on the same workers
            "finished": start(f"{DASK} address={cluster}"),
            "failing": start(f"{DASK} address={cluster},retries=1 --params 'what=fail in vae'"),
            "local": start(f"--env off {DASK} n_workers=2"),
            "interrupted": start(
                f"--env off {DASK} n_workers=2 --params 'what=sleep in vae'", interrupt=True
            ),
            "sequential": start("--env off"),
        }
        yield lambda name: futures[name].result()


def test_outputs_are_those_of_the_sequential_runner(runs: Callable[[str], Outcome]) -> None:
    local, sequential = runs("local"), runs("sequential")
    assert local.code == sequential.code == 0, local.text
    assert local.files() == sequential.files()
    assert len(local.files()) > 10
    assert list(local.project.glob("data/report.md/*/report.md"))


def test_every_fit_is_a_finished_run_in_mlflow(runs: Callable[[str], Outcome]) -> None:
    finished = runs("finished")
    assert finished.code == 0, finished.text
    assert finished.states() == dict.fromkeys({"__default__", SVAE, *VAE}, "FINISHED")
    fits = [run for run in _runs(finished.project) if run.info.run_name in VAE]
    for fit in fits:
        assert fit.data.metrics["mcc/all"] == 1.0
        assert fit.data.metrics["elbo"] < 0


def test_failing_nodes_stop_only_what_needs_them(runs: Callable[[str], Outcome]) -> None:
    failing = runs("failing")
    assert failing.code == 1
    files = failing.files()
    assert {"papalexi/held_out/svae_plus/0/metrics.csv", "papalexi/held_out/vae/1/curves.png"} <= (
        files.keys()
    )
    assert "comparison.csv" not in files
    assert "2 nodes failed: " in failing.text
    for fit in VAE:
        assert failing.text.count(f"Node {fit}.score failed and is run again") == 1
        assert failing.text.count(f"Node {fit}.score failed; nodes that") == 1
    assert "1 nodes need what they write and were skipped: compare." in failing.text
    # the frames of the worker, and the error
    assert 'raise ArithmeticError("the bound is not finite")' in failing.text
    assert failing.text.rstrip().endswith("ArithmeticError: the bound is not finite")


def test_mlflow_says_which_fits_failed(runs: Callable[[str], Outcome]) -> None:
    failing = runs("failing")
    assert failing.states() == {
        "__default__": "FAILED",
        SVAE: "FINISHED",
        **dict.fromkeys(VAE, "FAILED"),
    }
    for run in _runs(failing.project):
        error = run.data.tags.get("error")
        fine = run.info.run_name == SVAE
        assert error == (None if fine else "ArithmeticError: the bound is not finite")


def test_ctrl_c_ends_the_run_and_its_workers(runs: Callable[[str], Outcome]) -> None:
    interrupted = runs("interrupted")
    assert interrupted.code == 130, interrupted.text
    assert "Traceback" not in interrupted.text
    assert "Stopped. Finished outputs are kept." in interrupted.text
    assert not _alive(interrupted.process_group)


def _alive(process_group: int) -> list[str]:
    """Processes of a group, without those that have ended and that nobody has asked about."""
    listed = subprocess.run(
        ["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True
    )
    lines = [line.split(None, 2) for line in listed.stdout.splitlines()]
    return [str(line) for line in lines if int(line[0]) == process_group and "Z" not in line[1]]


# Nodes of pipelines that are run in this process.


def where_it_runs(_text: str) -> str:
    from distributed import get_worker

    return str(get_worker().name)


def die_once(text: str) -> str:
    if not Path("died").exists():
        Path("died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return text


def die(_text: str) -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


def count(text: str) -> str:
    with Path("counted").open("a") as file:
        file.write("x")
    return text


def fault_of_a_person(text: str) -> str:
    count(text)
    raise ScreenError("obs has no column 'gene'.")


def _run(runner: DaskRunner, *nodes: Node) -> dict[str, Any]:
    """Runs nodes in the working folder, every dataset `name` in `name.txt`."""
    Path("start.txt").write_text("text")
    pipeline = Pipeline(list(nodes))
    names = pipeline.datasets()
    files = {name: TextDataset(filepath=str(Path(f"{name}.txt").resolve())) for name in names}
    return runner.run(pipeline, DataCatalog(dict(files)))


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)


def test_node_of_a_killed_worker_is_run_by_another_and_finished_ones_are_not(
    cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster)
    _run(
        DaskRunner(),
        Node(count, "start", "a", name="before"),
        Node(die_once, "a", "b", name="killed"),
        Node(count, "b", "c", name="after"),
    )
    assert Path("c.txt").read_text() == "text"
    assert Path("counted").read_text() == "xx"


def test_node_that_always_kills_its_worker_is_named_and_others_are_done() -> None:
    with pytest.raises(DaskRunnerError, match="Node deadly was lost with its worker 2 times"):
        _run(
            DaskRunner(n_workers=2, retries=1),
            Node(die, "start", "a", name="deadly"),
            Node(count, "start", "b", name="harmless"),
            Node(count, "b", "c", name="later"),
        )
    assert not Path("a.txt").exists()
    assert Path("c.txt").read_text() == "text"


def test_fault_that_a_person_must_put_right_is_not_tried_again(cluster: str) -> None:
    with pytest.raises(ScreenError, match="no column 'gene'"):
        _run(DaskRunner(cluster), Node(fault_of_a_person, "start", "a", name="wrong"))
    assert Path("counted").read_text() == "x"


def _tagged(*names: str) -> list[Node]:
    return [Node(where_it_runs, "start", name, name=name, tags="gpu") for name in names]


def test_nodes_tagged_gpu_run_where_the_resource_is(cluster: str) -> None:
    names = ("a", "b", "c", "d")
    _run(DaskRunner(cluster), *_tagged(*names))
    assert {Path(f"{name}.txt").read_text() for name in names} == {"gpu"}


def test_tag_gpu_can_be_overruled(cluster: str) -> None:
    names = [f"node_{index}" for index in range(8)]
    _run(DaskRunner(cluster, gpu_resource=False), *_tagged(*names))
    assert "plain" in {Path(f"{name}.txt").read_text() for name in names}


def test_without_gpu_workers_tagged_nodes_run_on_any_unless_asked_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "sparseshift.runners"):
        _run(DaskRunner(n_workers=1), *_tagged("a"))
    assert "No worker has the resource GPU: nodes tagged gpu run on any" in caplog.text
    with pytest.raises(DaskRunnerError, match="--resources GPU=1` and name the address"):
        _run(DaskRunner(n_workers=1, gpu_resource=True), *_tagged("a"))


def test_datasets_in_memory_are_refused_by_name() -> None:
    pipeline = Pipeline(
        [
            Node(count, "start", "b", name="one"),
            Node(count, "b", "a", name="two"),
            Node(count, "params:p", "c", name="three"),
        ]
    )
    Path("start.txt").write_text("text")
    known = {
        "start": TextDataset(filepath="start.txt"),
        "c": TextDataset(filepath="c.txt"),
        "params:p": MemoryDataset("p"),
    }
    with pytest.raises(DaskRunnerError, match=r"are in memory: a, b\. Give each an entry"):
        DaskRunner(n_workers=1).run(pipeline, DataCatalog(known))


def test_address_without_a_scheduler_is_said_clearly() -> None:
    began = time.monotonic()
    with pytest.raises(DaskRunnerError, match=r"No dask scheduler answers at tcp://127.0.0.1:9 "):
        _run(DaskRunner("tcp://127.0.0.1:9", timeout=1), Node(count, "start", "a", name="one"))
    assert time.monotonic() - began < 10


def test_missing_package_is_named_with_the_way_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(DaskRunnerError, match=r'pip install "sparseshift\[cluster\]"'):
        DaskRunner()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_worker": 2}, "no parameter n_worker; it has address, n_workers,"),
        ({"n_workers": 0}, "n_workers=0 must be at least 1"),
        ({"threads_per_worker": 0}, "threads_per_worker=0 must be at least 1"),
        ({"threads_per_worker": "two"}, "threads_per_worker='two' must be a whole number"),
        ({"retries": -1}, "retries=-1 must be at least 0"),
        ({"gpu_resource": 1}, "gpu_resource=1 must be true or false"),
        ({"memory_limit": "much"}, "memory_limit='much' must be a size such as 8GB"),
        ({"timeout": 0}, "timeout=0 must be a positive number of seconds"),
        ({"address": 8786}, "address=8786 must be such as tcp://node-1:8786"),
        ({"address": "nonsense://x:1"}, "unknown address scheme 'nonsense'"),
        ({"address": "tcp://a:1", "n_workers": 2}, "n_workers: for workers on this machine, but"),
    ],
)
def test_bad_parameters_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(DaskRunnerError) as caught:
        DaskRunner(**parameters)
    assert message in str(caught.value)
