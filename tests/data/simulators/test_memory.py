"""A screen of a million cells must fit: apart from its counts, cells are drawn a few at a time."""

import tracemalloc

import pytest

from sparseshift.data.simulators.registry import draw


def drawn(name: str, cells: int) -> tuple[int, int]:
    """Bytes of the counts, and the most that drawing held at once."""
    size = {"n_perturbations": 10, "n_latents": 3, "n_genes": 200}
    tracemalloc.start()
    simulation = draw(name, 0, {**size, "n_cells_per_perturbation": cells // 10})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return simulation.counts.nbytes, peak


@pytest.mark.parametrize("name", ["paper", "default"])
def test_memory_grows_by_the_counts_and_little_more(name: str) -> None:
    (few, at_few), (many, at_many) = drawn(name, 20_000), drawn(name, 40_000)
    assert at_many - at_few < 1.5 * (many - few)
