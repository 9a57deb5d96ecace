"""How far the nodes of a pipeline are, and which can begin."""

import logging
from collections import Counter

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

logger = logging.getLogger(__name__)


class Progress:
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
