"""Nodes of a pipeline on a dask cluster, of one machine or many (docs/cluster.md).

Nodes meet in files; what travels is a node, its catalog entries and its parameters. The runner itself
keeps the order: the scheduler is given a node once the nodes before it are done. If dask knew of the
dependencies, it would run finished nodes again whenever their worker is lost.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from uuid import uuid4

from kedro.framework import project
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import AbstractRunner

from sparseshift.errors import SparseshiftError
from sparseshift.hooks.mlflow import PARENT_VARIABLE, URI_VARIABLE
from sparseshift.hooks.session import TRACEBACK_VARIABLE
from sparseshift.runners import node_task
from sparseshift.runners.faults import DaskRunnerError
from sparseshift.runners.node_task import Job, run_node
from sparseshift.runners.progress import Progress
from sparseshift.runners.runner_params import (
    ADDRESS_VARIABLE,
    find_address,
    memory,
    refuse_unknown,
    require_distributed,
    seconds,
    whole,
    yes_or_no,
)
from sparseshift.runners.shipping import pack, refuse_unshared

GPU = "GPU"
GPU_TAG = "gpu"

logger = logging.getLogger(__name__)


class DaskRunner(AbstractRunner):
    """Runs the nodes of a pipeline on the workers of a dask cluster.

    A node that fails does not stop the others: only what depends on it is skipped, and the first
    error is raised at the end.

    Args:
        address: of a running scheduler, such as `tcp://node-1:8786`; None: the variable
            DASK_SCHEDULER_ADDRESS or, without it, worker processes on this machine.
        n_workers: worker processes on this machine; None: as many as cores.
        threads_per_worker: nodes at a time in a worker on this machine; None: 1.
        memory_limit: memory of a worker on this machine, such as `8GB`, at which it is ended and
            begun anew; None or 0: no limit.
        retries: how often a node is run again after an error that may be the machine's, and on
            this machine also after the loss of its worker. A running scheduler has its own
            number of lost workers (`distributed.scheduler.allowed-failures`).
        gpu_resource: whether nodes with the tag `gpu` need a worker with the resource GPU; None:
            if there is such a worker when the run begins.
        timeout: seconds to wait for a scheduler at an address.
        is_async: load and save datasets in threads.

    Raises:
        DaskRunnerError: distributed is not installed, or a value is impossible.
    """

    def __init__(
        self,
        address: str | None = None,
        n_workers: int | None = None,
        threads_per_worker: int | None = None,
        memory_limit: float | str | None = None,
        retries: int = 2,
        gpu_resource: bool | None = None,
        timeout: float = 30,
        is_async: bool = False,
        **unknown: Any,
    ) -> None:
        super().__init__(is_async=is_async)
        require_distributed()
        refuse_unknown(
            unknown, list(DaskRunner.__init__.__annotations__)[: -len(("unknown", "return"))]
        )
        local = {
            "n_workers": n_workers,
            "threads_per_worker": threads_per_worker,
            "memory_limit": memory_limit,
        }
        self._address = find_address(address, local)
        self._n_workers = None if n_workers is None else whole("n_workers", n_workers, 1)
        self._threads = whole(
            "threads_per_worker", 1 if threads_per_worker is None else threads_per_worker, 1
        )
        self._memory_limit = memory("memory_limit", memory_limit)
        self._retries = whole("retries", retries, 0)
        self._gpu_resource = yes_or_no("gpu_resource", gpu_resource)
        self._timeout = seconds("timeout", timeout)

    def _get_executor(self, max_workers: int) -> None:
        """Kedro's pools are not used."""

    def _run(
        self,
        pipeline: Pipeline,
        catalog: Any,
        hook_manager: Any = None,  # noqa: ARG002 the workers make their own
        run_id: str | None = None,
    ) -> None:
        """Run the nodes; see `AbstractRunner.run`.

        Raises:
            DaskRunnerError: A dataset is in memory, something cannot be sent, there is no
                scheduler, or a node was lost with its workers.
            Exception: The first error of a node.
        """
        if not pipeline.nodes:
            return
        if self._gpu_resource and not self._address:
            raise DaskRunnerError(
                "gpu_resource=true, but the workers that this run starts have no resource GPU. "
                "Start workers by `dask worker ADDRESS --resources GPU=1` and name the address."
            )
        refuse_unshared(pipeline, catalog)
        packed = {node: pack(node, catalog) for node in pipeline.nodes}
        progress = Progress(pipeline)
        with self._connect(len(packed)) as client:
            submit = self._submitter(client, packed, self._job(run_id))
            self._run_in_order(client, progress, submit)
        if progress.failed:
            self._report(progress)
            self._suggest_resume_scenario(pipeline, progress.done, catalog)
            raise next(iter(progress.failed.values()))

    def _job(self, run_id: str | None) -> Job:
        tracking = {name: os.environ.get(name) for name in (PARENT_VARIABLE, URI_VARIABLE)}
        return Job(
            run_id=run_id,
            package=project.PACKAGE_NAME,
            folder=str(Path.cwd()),
            environment=tuple((name, text) for name, text in tracking.items() if text),
            quiet=not self._address and not os.environ.get(TRACEBACK_VARIABLE),
            is_async=self._is_async,
        )

    @contextmanager
    def _connect(self, n_nodes: int) -> Iterator[Any]:
        """A client of the cluster; a cluster of our own is ended with it."""
        from distributed import Client

        with self._cluster(n_nodes) as cluster:
            try:
                client = Client(cluster, timeout=self._timeout, set_as_default=False)
            except (OSError, ValueError) as error:
                raise DaskRunnerError(
                    f"No dask scheduler answers at {self._address} ({error}). Is it running, and "
                    "is the address the one that `dask scheduler` printed? Without an address "
                    f"(and without {ADDRESS_VARIABLE}) the workers are processes on this machine."
                ) from error
            with client:
                n_workers = len(client.nthreads())
                logger.info("Dask: %d workers at %s", n_workers, client.scheduler.address)
                if not n_workers:
                    logger.warning("No worker yet; the nodes wait for the first to join.")
                yield client

    def _cluster(self, n_nodes: int) -> AbstractContextManager[Any]:
        if self._address:
            return nullcontext(self._address)
        import dask
        from dask.system import CPU_COUNT
        from distributed import LocalCluster

        own = {
            "distributed.scheduler.allowed-failures": self._retries,
            # A worker is given no node in advance, which would be blamed for a lost worker too.
            "distributed.scheduler.worker-saturation": 1.0,
        }
        with dask.config.set(own):
            return LocalCluster(
                n_workers=min(self._n_workers or CPU_COUNT, n_nodes),
                threads_per_worker=self._threads,
                memory_limit=self._memory_limit,
                processes=True,
                dashboard_address=":0",
                preload=[node_task.__name__],
            )

    def _submitter(
        self, client: Any, packed: dict[Node, bytes], job: Job
    ) -> Callable[[Node, int], Any]:
        """A function that hands a node to the cluster, with the number of tries before."""
        on_gpu = self._nodes_on_gpu(client, list(packed))
        # One group for all nodes: of a large group dask gives a worker only what it can run.
        group = f"kedro-{job.run_id}-{uuid4().hex}"

        def submit(node: Node, tries: int) -> Any:
            return client.submit(
                run_node,
                job,
                packed[node],
                key=(group, node.name, tries),
                pure=False,
                resources={GPU: 1} if node in on_gpu else None,
            )

        return submit

    def _nodes_on_gpu(self, client: Any, nodes: list[Node]) -> set[Node]:
        """The nodes that need a worker with the resource GPU."""
        tagged = {node for node in nodes if GPU_TAG in node.tags}
        if not tagged or self._gpu_resource is False:
            return set()
        if client.run_on_scheduler(_has_gpu):
            return tagged
        if not self._gpu_resource:
            logger.info("No worker has the resource GPU: nodes tagged gpu run on any.")
            return set()
        logger.warning(
            "No worker has the resource GPU: %d nodes wait for one started with --resources GPU=1.",
            len(tagged),
        )
        return tagged

    def _run_in_order(
        self, client: Any, progress: "Progress", submit: Callable[[Node, int], Any]
    ) -> None:
        """Hand each node over when those before it are done."""
        from distributed import as_completed

        running: dict[Any, Node] = {}
        finished = as_completed(loop=client.loop)

        def start(nodes: Iterable[Node]) -> None:
            for node in nodes:
                future = submit(node, progress.tries[node])
                progress.tries[node] += 1
                running[future] = node
                finished.add(future)

        try:
            start(progress.first())
            for future in finished:
                node = running.pop(future)
                error = self._error_of(future, node)
                start(
                    progress.finish(node) if error is None else self._fail(node, error, progress)
                )
        except BaseException:
            client.cancel(list(running), force=True)
            if self._address and running:
                logger.warning(
                    "Nodes that run on the cluster go on to their end; no other begins."
                )
            raise

    def _fail(self, node: Node, error: BaseException, progress: "Progress") -> list[Node]:
        """The node, if it is to be run again."""
        # A fault that a person must put right is the same the next time.
        if progress.tries[node] <= self._retries and not isinstance(error, SparseshiftError):
            logger.warning("Node %s failed and is run again: %r", node.name, error)
            return [node]
        logger.error("Node %s failed; nodes that do not need it go on.", node.name)
        progress.failed[node] = error
        return []

    def _error_of(self, future: Any, node: Node) -> BaseException | None:
        from distributed import KilledWorker

        if future.status == "finished":
            return None
        if future.status != "error":
            raise DaskRunnerError(
                f"The dask scheduler is gone, or node {node.name} was cancelled there. "
                "Finished outputs are kept: the same command goes on from them."
            )
        error: BaseException = future.exception()
        if isinstance(error, KilledWorker):
            return DaskRunnerError(
                f"Node {node.name} was lost with its worker {error.allowed_failures + 1} times: the "
                "process was killed from outside, most often for want of memory. Give workers "
                "more memory, or have fewer of them on a machine."
            )
        return error.with_traceback(future.traceback() or error.__traceback__)

    def _report(self, progress: "Progress") -> None:
        failed, skipped = list(progress.failed), progress.skipped
        logger.error("%d nodes failed: %s.", len(failed), _names(failed))
        if skipped:
            logger.error(
                "%d nodes need what they write and were skipped: %s.",
                len(skipped),
                _names(skipped),
            )


def _names(nodes: Iterable[Node]) -> str:
    return ", ".join(node.name for node in nodes)


def _has_gpu(dask_scheduler: Any) -> bool:
    return any(worker.resources.get(GPU) for worker in dask_scheduler.workers.values())
