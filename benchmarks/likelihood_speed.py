"""Time of the negative binomial of 128 cells: the compiled loop against torch's operations.

    python benchmarks/likelihood_speed.py

Microseconds on one thread, the fastest of the repeats: log probability with its slopes, forward and
backward, as a training step takes it; and log probability alone of 20 particles, as scoring does.
"""

import argparse
import time
from collections.abc import Callable

import torch

from sparseshift import compiled
from sparseshift.probability.negative_binomial import softmax_log_prob

CELLS, PARTICLES = 128, 20


def microseconds(work: Callable[[], object], calls: int, repeats: int) -> float:
    """Of a call, the fastest of the repeats."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(calls):
            work()
        taken.append((time.perf_counter() - start) / calls)
    return 1e6 * min(taken)


def works(n_genes: int, mean: float) -> dict[str, tuple[Callable[[], object], int]]:
    """What is timed, and how often a repeat calls it."""
    torch.manual_seed(0)
    counts = torch.poisson(2.0 * mean * torch.rand(CELLS, n_genes))
    scores = torch.randn(CELLS, n_genes, requires_grad=True)
    log_t = torch.randn(n_genes, requires_grad=True)
    particles = torch.randn(PARTICLES, CELLS, n_genes)

    def training() -> object:
        return torch.autograd.grad(softmax_log_prob(counts, scores, log_t).sum(), (scores, log_t))

    @torch.no_grad()
    def scoring() -> object:
        return softmax_log_prob(counts, particles, log_t)

    return {"value and slopes": (training, 100), f"value of {PARTICLES} particles": (scoring, 5)}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    for n_genes, mean in ((100, 25.0), (1187, 0.25)):
        for name, (work, calls) in works(n_genes, mean).items():
            work()  # compiles
            ours = microseconds(work, calls, repeats)
            with compiled.switched_off():
                theirs = microseconds(work, calls, repeats)
            print(f"{n_genes} genes, {name}: torch {theirs:.0f}, compiled {ours:.0f} us")


if __name__ == "__main__":
    main()
