"""One `kedro run` in MLflow: a parent run, a child run for each fit, how far their nodes are.

A fit is a namespace SCREEN.SPLIT.MODEL.seed_N.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from sparseshift.hooks.provenance import run_tags
from sparseshift.hooks.records import (
    FILE_FOLDERS,
    clean_key,
    flatten,
    history_points,
    kind_of,
    local_path,
    metric_points,
    plain,
    without_prefix,
)
from sparseshift.hooks.tracker import Tracker

NODE_TAG = "kedro.node."
FIT_PARTS = ("screen", "split", "model", "seed")

NodeState = Literal["running", "done", "failed"]

logger = logging.getLogger(__name__)


def fit_of(node: Node) -> str | None:
    """Namespace SCREEN.SPLIT.MODEL.seed_N that a node belongs to, None outside any fit."""
    parts = (node.namespace or "").split(".")[: len(FIT_PARTS)]
    is_fit = len(parts) == len(FIT_PARTS) and parts[-1].startswith("seed_")
    return ".".join(parts) if is_fit else None


@dataclass
class TrackedRun:
    """A parent run and its children. The process that started it owns it, others only log."""

    tracker: Tracker
    kedro_run: str
    experiment: str = ""
    parent: str = ""
    children: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, set[str]] = field(default_factory=dict)
    states: dict[str, NodeState] = field(default_factory=dict)
    saved: dict[str, set[str]] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    owner: int = 0
    broken: bool = False

    @classmethod
    def join(cls, parent: str, uri: str) -> "TrackedRun":
        """The run that another process has started, for a worker that inherited nothing."""
        run = cls(Tracker(uri), kedro_run="", parent=parent)
        with run.harmless():
            run.children = run.tracker.children(parent)
        return run

    @property
    def in_worker(self) -> bool:
        """Whether this process only logs."""
        return self.owner != os.getpid()

    @contextmanager
    def harmless(self) -> Iterator[None]:
        """Tracking must not cost results: after a fault of the store go on without it."""
        try:
            yield
        except Exception as error:  # noqa: BLE001
            if not self.broken:
                self.broken = True
                logger.warning("MLflow failed; the run goes on untracked: %s", reason(error))

    def start(
        self, run_params: dict[str, Any], project: Path, pipeline: Pipeline, catalog: Any
    ) -> None:
        """Create the parent run, with parameters and input files, and the children."""
        tags = run_tags(run_params, project)
        name = " ".join(filter(None, [tags["kedro.pipelines"], run_params["env"]]))
        self.parent = self.tracker.start(self.experiment, name, tags)
        self.tracker.log_params(self.parent, _params(pipeline.nodes, catalog))
        self.tracker.log_json(self.parent, plain(_load("parameters", catalog)), "params.json")
        self.tracker.log_inputs(self.parent, _input_files(pipeline, catalog))
        fits: dict[str, list[Node]] = {}
        for node in pipeline.nodes:
            if fit := fit_of(node):
                fits.setdefault(fit, []).append(node)
        for fit, nodes in fits.items():
            self._start_child(fit, nodes, catalog)

    def _start_child(self, fit: str, nodes: list[Node], catalog: Any) -> None:
        labels = dict(zip(FIT_PARTS, fit.split("."), strict=True))
        labels["seed"] = labels["seed"].removeprefix("seed_")
        tags = {f"sparseshift.{key}": value for key, value in labels.items()}
        tags["sparseshift.namespace"] = fit
        tags["mlflow.parentRunId"] = self.parent
        tags["kedro.run_id"] = self.kedro_run
        self.nodes[fit] = {node.name for node in nodes}
        self.children[fit] = self.tracker.start(self.experiment, fit, tags)
        # Without the model's name the same setting has the same key for every model.
        params = {
            without_prefix(
                key, f"models.{labels['model']}", f"study.conditions.{labels['screen']}", fit
            ): value
            for key, value in _params(nodes, catalog).items()
        }
        self.tracker.log_params(self.children[fit], params | labels)

    def log_dataset(self, name: str, data: Any, node: Node, dataset: Any) -> None:
        """Log a saved dataset, if its catalog entry says so, to its fit or else the parent."""
        kind = kind_of(dataset, name)
        fit = fit_of(node) or ""
        target = self.children.get(fit, self.parent)
        local_name = without_prefix(name.partition("@")[0], fit)
        try:
            if kind == "metrics":
                self._log_points(target, local_name, *metric_points(data))
            elif kind == "history":
                self._log_points(target, local_name, *history_points(data))
            elif kind in FILE_FOLDERS:
                self.tracker.log_file(target, local_path(dataset), FILE_FOLDERS[kind], local_name)
        except ValueError as error:
            logger.warning("Dataset '%s' is not in MLflow: %s", name, error)

    def _log_points(self, target: str, name: str, points: list[Any], not_finite: int) -> None:
        self.tracker.log_points(target, points)
        if not_finite:
            self.tracker.set_tag(target, clean_key(f"not_finite.{name}"), str(not_finite))

    def note(self, node: Node, state: NodeState) -> None:
        """Remember how far a node has come; a fit ends with its last node.

        A worker tells the owner by a tag and leaves the ending to it.
        """
        if self.states.get(node.name) == state:
            return
        self.states[node.name] = state
        fit = fit_of(node)
        if fit not in self.children:
            return
        if self.in_worker:
            self.tracker.set_tag(self.children[fit], NODE_TAG + node.name, state)
        elif all(self.states.get(name) == "done" for name in self.nodes[fit]):
            self._end_fit(fit, "FINISHED")

    def note_saved(self, node: Node, dataset_name: str) -> None:
        """A node is done when its last output is saved."""
        self.saved.setdefault(node.name, set()).add(dataset_name)
        if self.saved[node.name] >= set(node.outputs):
            self.note(node, "done")

    def fail_node(self, node: Node, error: Exception) -> None:
        """Store an error with the fit that it ends."""
        self.note(node, "failed")
        fit = fit_of(node)
        if fit in self.children:
            self.tracker.log_error(self.children[fit], error)
            if not self.in_worker:
                self._end_fit(fit, "FAILED")

    def finish(self) -> None:
        """End every run of a pipeline that went well."""
        if self.broken:
            self.tracker.set_tag(self.parent, "sparseshift.incomplete", "true")
        for fit in self.children.keys() - self.ended:
            self._end_fit(fit, "FINISHED")
        self.tracker.end(self.parent, "FINISHED")

    def fail(self, error: Exception) -> None:
        """End every run of a failed pipeline: finished, failed, or never completed."""
        self._end_fits(error)
        self.tracker.log_error(self.parent, error)
        self.tracker.end(self.parent, "FAILED")

    def kill(self) -> None:
        """End every run of a stopped pipeline, also one whose id did not arrive any more."""
        if self.experiment:
            self._end_fits(None)
            for left in self.tracker.running(self.experiment, self.kedro_run):
                self.tracker.end(left, "KILLED")

    def _end_fit(self, fit: str, status: str) -> None:
        self.tracker.end(self.children[fit], status)
        self.ended.add(fit)

    def _end_fits(self, error: Exception | None) -> None:
        """End the fits that are left, by what became of their nodes."""
        for fit in self.children.keys() - self.ended:
            tags = self.tracker.tags(self.children[fit])
            nodes = self.nodes[fit]
            states = {self.states.get(name) or tags.get(NODE_TAG + name) for name in nodes}
            # Kedro waits for running nodes before it reports an error, and calls no hook when a
            # dataset cannot be read or written: a node still "running" has failed that way.
            if error and states & {"failed", "running"}:
                if "error" not in tags:
                    self.tracker.log_error(self.children[fit], error)
                self._end_fit(fit, "FAILED")
            else:
                self._end_fit(fit, "FINISHED" if states == {"done"} else "KILLED")


def reason(error: Exception) -> str:
    """Text of a fault of the store, without the SQL that met it."""
    return str(error).partition("\n[SQL")[0]


def _params(nodes: list[Node], catalog: Any) -> dict[str, str]:
    names = {name for node in nodes for name in node.inputs if name.startswith("params:")}
    params: dict[str, str] = {}
    for name in sorted(names):
        params |= flatten(_load(name, catalog), name.removeprefix("params:"))
    return params


def _load(name: str, catalog: Any) -> Any:
    # Not catalog.load, which logs a line for each.
    dataset = catalog.get(name)
    return {} if dataset is None else dataset.load()


def _input_files(pipeline: Pipeline, catalog: Any) -> dict[str, Path]:
    """Local files among the free inputs that are to be logged."""
    datasets = {name: catalog.get(name) for name in sorted(pipeline.inputs())}
    paths = {
        name: local_path(dataset)
        for name, dataset in datasets.items()
        if kind_of(dataset, name) == "input"
    }
    return {name: path for name, path in paths.items() if path and path.is_file()}
