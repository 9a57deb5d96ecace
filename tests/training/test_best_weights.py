"""Which weights of a fit are kept, and when it may end."""

import math
from collections.abc import Sequence

import torch

from sparseshift.data.design import Design
from sparseshift.models.build import build_model
from sparseshift.models.options import Options
from sparseshift.training.best_weights import BestWeights
from sparseshift.training.history import Record


def record_of(value: float, n_edges: int) -> Record:
    """A record with this validation score."""
    return Record(0, 0, 0, 1.0, 0.0, 0.0, value, value, value, 0.0, 0.0, 0.0, n_edges)


def offered(
    values: Sequence[float],
    warm: Sequence[bool],
    patience: int = 2,
    n_edges: Sequence[int] | None = None,
) -> tuple[int, int, float]:
    """Index of the best record, evaluations until the stop, and the weight that is restored."""
    model = build_model(
        Options(n_hidden=4),
        Design(("A",), "control", additive=True),
        n_genes=3,
        n_batches=1,
        n_latents=2,
        seed=0,
    )
    weight = model.get_parameter("likelihood.log_inverse_dispersion")
    with torch.no_grad():
        weight.fill_(-1.0)  # untrained
    keeper = BestWeights(model, patience, validated=not all(map(math.isnan, values)))
    seen = 0
    for i, (value, is_warm) in enumerate(zip(values, warm, strict=True)):
        with torch.no_grad():
            weight.fill_(float(i))
        seen = i + 1
        if keeper.offer(record_of(value, 0 if n_edges is None else n_edges[i]), warm=is_warm):
            break
    keeper.restore()
    assert len(keeper.records) == seen
    return keeper.best, seen, weight[0].item()


def test_best_weights_restores_the_best() -> None:
    assert offered([5.0, 3.0, 4.0, 2.0, 2.5], [True] * 5, patience=9) == (3, 5, 3.0)


def test_best_weights_keeps_a_first_score_after_the_warmup() -> None:
    assert offered([5.0], [True]) == (0, 1, 0.0)
    assert offered([5.0, 6.0], [True, True]) == (0, 2, 0.0)


def test_best_weights_stops_when_patience_ends() -> None:
    assert offered([3.0, 4.0, 3.0, 1.0], [True] * 4) == (0, 3, 0.0)
    assert offered([3.0, 4.0, 2.9, 5.0, 6.0, 1.0], [True] * 6) == (2, 5, 2.0)


def test_best_weights_takes_the_latest_during_the_warmup() -> None:
    assert offered([1.0, 5.0, 4.0, 6.0], [False] * 4, patience=1) == (3, 4, 3.0)
    # and compares from the first after it on
    assert offered([1.0, 5.0, 6.0, 7.0], [False, False, True, True], patience=5) == (2, 4, 2.0)


def test_best_weights_without_validation_keeps_the_last() -> None:
    assert offered([math.nan] * 4, [False, True, True, True], patience=1) == (3, 4, 3.0)


def test_a_score_that_is_not_a_number_is_never_the_best() -> None:
    best, _, restored = offered([5.0, 3.0, math.nan, 4.0], [True] * 4, patience=9)
    assert best == 1
    assert restored == 1.0


def test_training_does_not_stop_before_the_edges_are_stable() -> None:
    worse = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    warm = [True] * 7
    assert offered(worse, warm, patience=2, n_edges=[9, 9, 9, 9, 9, 9, 9])[1] == 3
    # the count still falls by more than one edge within two evaluations
    assert offered(worse, warm, patience=2, n_edges=[40, 30, 20, 9, 8, 8, 8])[1] == 5
    assert offered(worse, warm, patience=3, n_edges=[40, 30, 20, 9, 8, 8, 8])[1] == 6
    # among thousands of edges one in a hundred may move
    assert offered(worse, warm, patience=2, n_edges=[2000, 1990, 1975, 0, 0, 0, 0])[1] == 3
    # whatever happened, the best weights are restored
    assert offered(worse, warm, patience=9, n_edges=[9, 8, 7, 6, 5, 4, 3])[2] == 0.0


def test_training_does_not_stop_before_the_warmup_is_over() -> None:
    worse = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    for n_cold in range(5):
        warm = [i >= n_cold for i in range(6)]
        # the first score after the warm-up is the first that counts, then one without a better
        assert offered(worse, warm, patience=1)[1] == n_cold + 2


def test_scores_are_compared_by_the_objective() -> None:
    # a beta-VAE has a lower negative ELBO with other weights than those it is trained for
    model = build_model(
        Options(n_hidden=4),
        Design(("A",), "control", additive=True),
        n_genes=3,
        n_batches=1,
        n_latents=2,
        seed=0,
    )
    keeper = BestWeights(model, 5, validated=True)
    for objective, elbo in ((5.0, 1.0), (3.0, 2.0), (4.0, 0.0)):
        record = record_of(objective, 0)._replace(
            validation_negative_elbo=elbo, validation_negative_elbo_macro=elbo
        )
        keeper.offer(record, warm=True)
    assert keeper.best == 1
