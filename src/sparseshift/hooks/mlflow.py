"""Each `kedro run` is a run in MLflow, and each fit in it a child run.

This file says when something is written, `tracked_run` and `tracker` how, `records` and
`provenance` what. The process that starts the pipeline creates and ends all runs; the worker
processes of ParallelRunner only log. Forked workers inherit the hook's state, spawned ones find
the runs by two environment variables.
"""

import logging
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import runner as kedro_runner

from sparseshift.errors import SparseshiftError
from sparseshift.hooks.config import read_config
from sparseshift.hooks.records import kind_of
from sparseshift.hooks.tracked_run import NodeState, TrackedRun, reason
from sparseshift.hooks.tracker import Tracker

PARENT_VARIABLE = "SPARSESHIFT_MLFLOW_PARENT"
URI_VARIABLE = "SPARSESHIFT_MLFLOW_URI"

logger = logging.getLogger(__name__)


class MLflowHook:
    """Records each `kedro run` in MLflow."""

    def __init__(self) -> None:
        self._context: Any = None
        self._catalog: Any = None
        self._run: TrackedRun | None = None

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Keep the project's path and configuration for the run."""
        self._context = context

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Any
    ) -> None:
        """Create the parent run and one child run for each fit."""
        self._run, self._catalog = None, catalog
        config = read_config(self._context.config_loader)
        if not config.enabled:
            return
        for name in sorted(pipeline.datasets()):
            kind_of(catalog.get(name), name)
        if run_params["only_missing_outputs"]:
            pipeline = _missing_only(pipeline, catalog)
        project = Path(self._context.project_path)
        uri = config.uri(project)
        run = self._run = TrackedRun(Tracker(uri), run_params["run_id"], owner=os.getpid())
        try:
            run.experiment = run.tracker.experiment(
                config.experiment, config.artifact_location(project)
            )
            run.start(run_params, project, pipeline, catalog)
        except Exception as error:
            self.abort()
            raise SparseshiftError(
                f"MLflow cannot be used at {re.sub('://[^/@]*@', '://***@', uri)}: {reason(error)}\n"
                "Name another store by MLFLOW_TRACKING_URI or by tracking_uri in mlflow.yml, "
                "or turn tracking off there by enabled: false."
            ) from error
        os.environ[PARENT_VARIABLE], os.environ[URI_VARIABLE] = run.parent, uri
        logger.info("MLflow run %s with %d fits in it", run.parent, len(run.children))

    @hook_impl
    def before_dataset_loaded(self, node: Node) -> None:
        """A node starts by loading its inputs."""
        self._note(node, "running")

    @hook_impl
    def before_node_run(self, node: Node, catalog: Any) -> None:
        """Keep the catalog, which a spawned worker meets only here."""
        self._catalog = catalog
        self._note(node, "running")

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """A node without outputs is done."""
        if not node.outputs:
            self._note(node, "done")

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Log what the catalog says is to be logged."""
        if run := self._tracked():
            with run.harmless():
                run.log_dataset(dataset_name, data, node, self._catalog.get(dataset_name))
                run.note_saved(node, dataset_name)

    @hook_impl
    def on_node_error(self, error: Exception, node: Node) -> None:
        """Store the error with the fit that it ends."""
        if run := self._tracked():
            with run.harmless():
                run.fail_node(node, error)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """All went well: end every run."""
        if run := self._leave():
            with run.harmless():
                run.finish()

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """End every run by what became of its nodes."""
        if run := self._leave():
            with run.harmless():
                run.fail(error)

    def abort(self) -> None:
        """Mark every run that has not ended as KILLED. Kedro calls no hook when it is stopped."""
        run = self._leave()
        if run and not run.in_worker:
            with suppress(Exception):
                run.kill()

    def _leave(self) -> TrackedRun | None:
        """Forget the run, and return it."""
        # The variables first: without a run but with them, a thread would join as a worker.
        os.environ.pop(PARENT_VARIABLE, None)
        os.environ.pop(URI_VARIABLE, None)
        run, self._run = self._run, None
        return run

    def _tracked(self) -> TrackedRun | None:
        """The run to log to, if there is one and its store works."""
        if self._run is None and PARENT_VARIABLE in os.environ:
            self._run = TrackedRun.join(os.environ[PARENT_VARIABLE], os.environ[URI_VARIABLE])
        return None if self._run is None or self._run.broken else self._run

    def _note(self, node: Node, state: NodeState) -> None:
        if run := self._tracked():
            with run.harmless():
                run.note(node, state)


def _missing_only(pipeline: Pipeline, catalog: Any) -> Pipeline:
    # The runner drops nodes whose outputs exist only after this hook, and no public function says
    # which; without this, fits that are finished would appear as empty runs.
    nodes = kedro_runner._determine_nodes_to_run(
        pipeline.nodes[::-1], catalog, kedro_runner._build_node_children_map(pipeline), logger
    )
    return Pipeline([node for node in pipeline.nodes if node in nodes])
