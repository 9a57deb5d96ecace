"""What travels to a worker, and what cannot."""

import pickle
from typing import Any

from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from sparseshift.runners.faults import DaskRunnerError


def pack(node: Node, catalog: Any) -> bytes:
    """A node with a catalog of its datasets only: a grid's whole catalog is large."""
    import cloudpickle

    own = DataCatalog({name: catalog.get(name) for name in (*node.inputs, *node.outputs)})
    try:
        return cloudpickle.dumps((node, own))
    except (AttributeError, TypeError, ValueError, pickle.PicklingError) as error:
        raise DaskRunnerError(
            f"Node {node.name} cannot be sent to another process: {error}"
        ) from error


def refuse_unshared(pipeline: Pipeline, catalog: Any) -> None:
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
