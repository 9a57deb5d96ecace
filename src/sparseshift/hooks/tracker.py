"""Writes to MLflow's store, always to a run named by its id, from any thread or process."""

import json
import logging
import os
import shutil
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sparseshift.hooks.records import LONGEST_PARAM, Point, clean_key, file_digest

METRICS_A_BATCH = 1000
PARAMS_A_BATCH = 100
LONGEST_TAG = 8000


class Tracker:
    """A tracking store at a URI. The client is made on first use, anew in each process."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._client: Any = None
        self._process = 0

    @property
    def client(self) -> Any:
        """The client of this process: a connection must not be shared over a fork."""
        if self._process != os.getpid():
            _prepare_import()
            from mlflow.tracking import MlflowClient

            self._client = MlflowClient(tracking_uri=self.uri)
            self._process = os.getpid()
        return self._client

    def experiment(self, name: str, artifact_location: str | None) -> str:
        """Id of the experiment, which is created if it does not exist."""
        found = self.client.get_experiment_by_name(name)
        if found is None:
            return self.client.create_experiment(name, artifact_location=artifact_location)
        return found.experiment_id

    def start(self, experiment: str, name: str, tags: Mapping[str, str]) -> str:
        """Id of a new run."""
        tags = {key: value[:LONGEST_TAG] for key, value in tags.items()}
        return self.client.create_run(experiment, tags=tags, run_name=name).info.run_id

    def end(self, run: str, status: str) -> None:
        """Set the final status of a run: FINISHED, FAILED or KILLED."""
        self.client.set_terminated(run, status)

    def running(self, experiment: str, kedro_run: str) -> list[str]:
        """Ids of the runs of one `kedro run` that have not ended."""
        query = f"tags.`kedro.run_id` = '{kedro_run}' and attributes.status = 'RUNNING'"
        return [run.info.run_id for run in self._search(experiment, query)]

    def children(self, parent: str) -> dict[str, str]:
        """Ids of a run's children by namespace."""
        experiment = self.client.get_run(parent).info.experiment_id
        found = self._search(experiment, f"tags.`mlflow.parentRunId` = '{parent}'")
        return {run.data.tags["sparseshift.namespace"]: run.info.run_id for run in found}

    def tags(self, run: str) -> dict[str, str]:
        """All tags of a run."""
        return dict(self.client.get_run(run).data.tags)

    def set_tag(self, run: str, key: str, value: str) -> None:
        """Set one tag."""
        self.client.set_tag(run, key, value[:LONGEST_TAG])

    def log_params(self, run: str, params: Mapping[str, str]) -> None:
        """Log parameters; a value too long for the store is left out."""
        from mlflow.entities import Param

        entities = [
            Param(clean_key(key), value)
            for key, value in params.items()
            if len(value) <= LONGEST_PARAM
        ]
        for batch in _batches(entities, PARAMS_A_BATCH):
            self.client.log_batch(run, params=batch)

    def log_points(self, run: str, points: Iterable[Point]) -> None:
        """Log metrics with their steps."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        entities = [Metric(key, value, now, step) for key, value, step in points]
        for batch in _batches(entities, METRICS_A_BATCH):
            self.client.log_batch(run, metrics=batch)

    def log_file(self, run: str, path: Path | None, folder: str, name: str) -> None:
        """Store a file or folder as the artifact `folder/name`, with the file's own suffix.

        Raises:
            ValueError: If there is no path, since the file is elsewhere.
        """
        if path is None:
            raise ValueError("its file is not on this machine")
        if path.is_dir():
            self.client.log_artifacts(run, str(path), f"{folder}/{name}")
            return
        with tempfile.TemporaryDirectory() as temporary:
            # The client names an artifact after its file.
            named = Path(temporary, name + path.suffix)
            shutil.copyfile(path, named)
            self.client.log_artifact(run, str(named), folder)

    def log_json(self, run: str, value: Any, name: str) -> None:
        """Store plain values as an artifact."""
        self.client.log_text(run, json.dumps(value, indent=2), name)

    def log_inputs(self, run: str, files: Mapping[str, Path]) -> None:
        """Log the files that a run reads, with their digests."""
        from mlflow.entities import Dataset, DatasetInput

        inputs = []
        for name, path in files.items():
            source = json.dumps({"uri": path.resolve().as_uri()})
            profile = json.dumps({"bytes": path.stat().st_size})
            dataset = Dataset(name, file_digest(path), "local", source, profile=profile)
            inputs.append(DatasetInput(dataset, []))
        if inputs:
            self.client.log_inputs(run, inputs)

    def log_error(self, run: str, error: BaseException) -> None:
        """Store an error: its text as tag `error`, its traceback as an artifact."""
        self.set_tag(run, "error", f"{type(error).__name__}: {error}")
        self.client.log_text(run, "".join(traceback.format_exception(error)), "traceback.txt")

    def _search(self, experiment: str, query: str) -> Iterator[Any]:
        token = None
        while True:
            page = self.client.search_runs([experiment], query, max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return


def _prepare_import() -> None:
    # MLflow reads these on import. Its own telemetry calls home; an engine's open connections
    # would be inherited by a forked worker, which "NullPool" avoids (MLflow caches engines, so a
    # new client alone does not).
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
    # Sixty lines of migrations on first use, and a traceback for every error that we report.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def _batches(entities: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(entities), size):
        yield entities[start : start + size]
