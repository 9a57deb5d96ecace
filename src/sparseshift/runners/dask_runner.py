"""Nodes of a pipeline on a dask cluster, of one machine or many (docs/cluster.md).

Nodes meet in files; what travels is a node, its catalog entries and its parameters. The runner itself
keeps the order: the scheduler is given a node once the nodes before it are done. If dask knew of the
dependencies, it would run finished nodes again whenever their worker is lost.
"""

import logging
import os
import pickle
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from uuid import uuid4

import click
from kedro.framework import project
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import AbstractRunner

from sparseshift.errors import SparseshiftError, require_whole
from sparseshift.hooks.mlflow import PARENT_VARIABLE, URI_VARIABLE
from sparseshift.hooks.session import TRACEBACK_VARIABLE
from sparseshift.runners import node_task
from sparseshift.runners.node_task import Job, run_node

ADDRESS_VARIABLE = "DASK_SCHEDULER_ADDRESS"
GPU = "GPU"
GPU_TAG = "gpu"

logger = logging.getLogger(__name__)


class DaskRunnerError(SparseshiftError, click.ClickException):
    """A run that cannot be done on a cluster.

    Kedro makes a runner before there is a session that would print the error for a person; as a
    `ClickException` it is printed so nevertheless.
    """


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
        _require_distributed()
        _refuse_unknown(unknown)
        local = {
            "n_workers": n_workers,
            "threads_per_worker": threads_per_worker,
            "memory_limit": memory_limit,
        }
        self._address = _find_address(address, local)
        self._n_workers = None if n_workers is None else _whole("n_workers", n_workers, 1)
        self._threads = _whole(
            "threads_per_worker", 1 if threads_per_worker is None else threads_per_worker, 1
        )
        self._memory_limit = _memory("memory_limit", memory_limit)
        self._retries = _whole("retries", retries, 0)
        self._gpu_resource = _yes_or_no("gpu_resource", gpu_resource)
        self._timeout = _seconds("timeout", timeout)

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
        _refuse_unshared(pipeline, catalog)
        packed = {node: _pack(node, catalog) for node in pipeline.nodes}
        progress = _Progress(pipeline)
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
        self, client: Any, progress: "_Progress", submit: Callable[[Node, int], Any]
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

    def _fail(self, node: Node, error: BaseException, progress: "_Progress") -> list[Node]:
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

    def _report(self, progress: "_Progress") -> None:
        failed, skipped = list(progress.failed), progress.skipped
        logger.error("%d nodes failed: %s.", len(failed), _names(failed))
        if skipped:
            logger.error(
                "%d nodes need what they write and were skipped: %s.",
                len(skipped),
                _names(skipped),
            )


class _Progress:
    """How far the nodes of a pipeline are.

    Args:
        pipeline: its nodes, of which none has begun.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.done: set[Node] = set()
        self.failed: dict[Node, BaseException] = {}
        self.tries: Counter[Node] = Counter()
        self._before = pipeline.node_dependencies
        self._after: dict[Node, list[Node]] = {node: [] for node in pipeline.nodes}
        for node in self._after:
            for parent in self._before[node]:
                self._after[parent].append(node)

    @property
    def skipped(self) -> list[Node]:
        """Nodes that neither are done nor failed."""
        return [node for node in self._after if node not in self.done and node not in self.failed]

    def first(self) -> list[Node]:
        """Nodes that need no other."""
        return [node for node in self._after if not self._before[node]]

    def finish(self, node: Node) -> list[Node]:
        """Note that a node is done, and return those that can now begin."""
        self.done.add(node)
        logger.info("Completed node %s (%d of %d)", node.name, len(self.done), len(self._after))
        return [child for child in self._after[node] if self._before[child] <= self.done]


def _names(nodes: Iterable[Node]) -> str:
    return ", ".join(node.name for node in nodes)


def _has_gpu(dask_scheduler: Any) -> bool:
    return any(worker.resources.get(GPU) for worker in dask_scheduler.workers.values())


def _pack(node: Node, catalog: Any) -> bytes:
    """A node with a catalog of its datasets only: a grid's whole catalog is large."""
    import cloudpickle

    own = DataCatalog({name: catalog.get(name) for name in (*node.inputs, *node.outputs)})
    try:
        return cloudpickle.dumps((node, own))
    except (AttributeError, TypeError, ValueError, pickle.PicklingError) as error:
        raise DaskRunnerError(
            f"Node {node.name} cannot be sent to another process: {error}"
        ) from error


def _refuse_unshared(pipeline: Pipeline, catalog: Any) -> None:
    """Refuse datasets that other processes would not find."""
    names = {
        name
        for name in pipeline.datasets()
        if name != "parameters" and not name.startswith("params:")
    }
    datasets = {name: catalog.get(name) for name in sorted(names)}
    in_memory = [
        name for name, dataset in datasets.items() if getattr(dataset, "_EPHEMERAL", False)
    ]
    if in_memory:
        raise DaskRunnerError(
            f"On a cluster nodes meet in files, but these datasets are in memory: "
            f"{', '.join(in_memory)}. Give each an entry in the catalog, with a path that every "
            "worker sees."
        )
    single = [
        name for name, dataset in datasets.items() if getattr(dataset, "_SINGLE_PROCESS", False)
    ]
    if single:
        raise DaskRunnerError(
            f"These datasets cannot be used by several processes: {', '.join(single)}. "
            "Give each another type in the catalog."
        )


def _require_distributed() -> None:
    # Read when distributed is imported, here and in worker processes; else they tell of every step.
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "warning")
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise DaskRunnerError(
            'DaskRunner needs the package distributed: pip install "sparseshift[cluster]"'
        ) from error


def _refuse_unknown(unknown: dict[str, Any]) -> None:
    if unknown:
        known = list(DaskRunner.__init__.__annotations__)[: -len(("unknown", "return"))]
        raise DaskRunnerError(
            f"DaskRunner has no parameter {', '.join(unknown)}; it has {', '.join(known)}."
        )


def _find_address(address: str | None, local: dict[str, Any]) -> str | None:
    """The scheduler's address: the one given, else the environment's."""
    found = address or os.environ.get(ADDRESS_VARIABLE) or None
    given = [name for name, value in local.items() if value is not None]
    if found and given:
        source = "" if address else f" from {ADDRESS_VARIABLE}"
        raise DaskRunnerError(
            f"{', '.join(given)}: for workers on this machine, but the scheduler at {found}{source} "
            "has workers of its own. Leave out one or the other."
        )
    if found:
        _refuse_scheme(found)
    return found


def _refuse_scheme(address: Any) -> None:
    # Here, since a client that meets an unknown scheme cannot be closed.
    from distributed.comm.addressing import parse_address
    from distributed.comm.registry import get_backend

    try:
        get_backend(parse_address(address)[0])
    except (TypeError, ValueError) as error:
        raise DaskRunnerError(
            f"address={address!r} must be such as tcp://node-1:8786: {error}"
        ) from None


def _whole(name: str, value: Any, least: int) -> int:
    try:
        return require_whole(name, value, least)
    except SparseshiftError as error:
        raise DaskRunnerError(str(error)) from None


def _yes_or_no(name: str, value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise DaskRunnerError(f"{name}={value!r} must be true or false.")


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, (int, float)) and value > 0:
        return value
    raise DaskRunnerError(f"{name}={value!r} must be a positive number of seconds.")


def _memory(name: str, value: Any) -> int:
    """Bytes of a worker, 0 for no limit."""
    from dask.utils import parse_bytes

    try:
        n_bytes = parse_bytes(value or 0)
    except (TypeError, ValueError):
        n_bytes = -1
    if n_bytes < 0:
        raise DaskRunnerError(f"{name}={value!r} must be a size such as 8GB, or 0 for no limit.")
    return n_bytes
