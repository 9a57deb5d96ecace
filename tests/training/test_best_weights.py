"""Which weights of a fit are kept, and when it may end."""

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch

from sparseshift.data.design import Design
from sparseshift.models.build import build_model
from sparseshift.models.options import Options
from sparseshift.models.vae import PerturbationVAE
from sparseshift.training.best_weights import BestWeights
from sparseshift.training.history import Record, objectives_less_ramp


def record_of(value: float, n_edges: int, kl_weight: float = 1.0, kl: float = 0.0) -> Record:
    """A record with this validation score, of which `kl` is what the weight multiplies."""
    return Record(0, 0, 0, kl_weight, 0.0, 0.0, value, value, value, 0.0, 0.0, kl, 0.0, n_edges)


def small_model() -> PerturbationVAE:
    return build_model(
        Options(n_hidden=4),
        Design(("A",), "control", additive=True),
        n_genes=3,
        n_batches=1,
        n_latents=2,
        seed=0,
    )


def offered(records: Sequence[Record], patience: int = 2) -> tuple[int, int, float]:
    """Index of the best record, evaluations until the stop, and the weight that is restored."""
    model = small_model()
    weight = model.get_parameter("likelihood.log_inverse_dispersion")
    with torch.no_grad():
        weight.fill_(-1.0)  # untrained
    unscored = all(math.isnan(record.validation_objective) for record in records)
    keeper = BestWeights(model, patience, validated=not unscored)
    seen = 0
    for i, record in enumerate(records):
        with torch.no_grad():
            weight.fill_(float(i))
        seen = i + 1
        if keeper.offer(record):
            break
    keeper.restore()
    assert len(keeper.records) == seen
    return keeper.best, seen, weight[0].item()


def scores(*values: float) -> list[Record]:
    """Records at a constant KL weight, without edges."""
    return [record_of(value, 0) for value in values]


def ramp(reconstruction: Sequence[float], kl: Sequence[float]) -> list[Record]:
    """Records while the KL weight rises from .1 in steps of .1."""
    return [
        record_of(own - part, 0, 0.1 * (i + 1), own)
        for i, (part, own) in enumerate(zip(reconstruction, kl, strict=True))
    ]


def test_best_weights_restores_the_best() -> None:
    assert offered(scores(5.0, 3.0, 4.0, 2.0, 2.5), patience=9) == (3, 5, 3.0)


def test_best_weights_keeps_a_first_score() -> None:
    assert offered(scores(5.0)) == (0, 1, 0.0)
    assert offered(scores(5.0, 6.0)) == (0, 2, 0.0)


def test_best_weights_stops_when_patience_ends() -> None:
    assert offered(scores(3.0, 4.0, 3.0, 1.0)) == (0, 3, 0.0)
    assert offered(scores(3.0, 4.0, 2.9, 5.0, 6.0, 1.0)) == (2, 5, 2.0)


def test_patience_can_begin_anew() -> None:
    keeper = BestWeights(small_model(), 2, validated=True)
    assert [keeper.offer(record) for record in scores(3.0, 4.0, 5.0)] == [False, False, True]
    keeper.have_patience_anew()
    assert [keeper.offer(record) for record in scores(6.0, 2.9, 7.0, 8.0)] == [False] * 3 + [True]
    assert keeper.best == 4


def test_what_a_rising_kl_weight_costs_is_not_taken_for_overfitting() -> None:
    # R and K of the best weights for w, where R = -1 / (2 K): K = sqrt(1 / (2 w)); w K - R rises with w
    weights = [0.1 * (i + 1) for i in range(10)]
    kl = [math.sqrt(0.5 / w) for w in weights]
    reconstruction = [-0.5 / k for k in kl]
    at_weight = [w * k - r for w, k, r in zip(weights, kl, reconstruction, strict=True)]
    assert all(a < b for a, b in pairwise(at_weight))
    records = ramp(reconstruction, kl)
    left = objectives_less_ramp(records)
    assert max(left) - min(left) < 0.05 * (at_weight[-1] - at_weight[0])
    # the same, learning all the time, and overfitting from the fourth evaluation on
    learning = [r + 0.02 * i for i, r in enumerate(reconstruction)]
    assert offered(ramp(learning, kl), patience=3) == (9, 10, 9.0)
    falling = [r - 0.05 * abs(i - 3) for i, r in enumerate(reconstruction)]
    assert offered(ramp(falling, kl), patience=3) == (3, 7, 3.0)


def test_at_a_constant_kl_weight_it_is_the_objective_at_that_weight() -> None:
    records = [record_of(5.0 + k, 0, 0.25, k) for k in (1.0, 4.0, 2.0)]
    assert objectives_less_ramp(records) == pytest.approx([5.25, 6.0, 5.5])
    assert objectives_less_ramp(scores(5.0, 3.0)) == [5.0, 3.0]


def test_best_weights_without_validation_keeps_the_last() -> None:
    assert offered(scores(*[math.nan] * 4), patience=1) == (3, 4, 3.0)


def test_a_score_that_is_not_a_number_is_never_the_best() -> None:
    best, _, restored = offered(scores(5.0, 3.0, math.nan, 4.0), patience=9)
    assert best == 1
    assert restored == 1.0


def test_training_does_not_stop_before_the_edges_are_stable() -> None:
    def worse(patience: int, *n_edges: int) -> tuple[int, int, float]:
        return offered([record_of(i + 1.0, n) for i, n in enumerate(n_edges)], patience)

    assert worse(2, 9, 9, 9, 9, 9, 9, 9)[1] == 3
    # the count still falls by more than one edge within two evaluations
    assert worse(2, 40, 30, 20, 9, 8, 8, 8)[1] == 5
    assert worse(3, 40, 30, 20, 9, 8, 8, 8)[1] == 6
    # among thousands of edges one in a hundred may move
    assert worse(2, 2000, 1990, 1975, 0, 0, 0, 0)[1] == 3
    # whatever happened, the best weights are restored
    assert worse(9, 9, 8, 7, 6, 5, 4, 3)[2] == 0.0


def test_scores_are_compared_by_the_objective() -> None:
    # a beta-VAE has a lower negative ELBO with other weights than those it is trained for
    keeper = BestWeights(small_model(), 5, validated=True)
    for objective, elbo in ((5.0, 1.0), (3.0, 2.0), (4.0, 0.0)):
        record = record_of(objective, 0)._replace(
            validation_negative_elbo=elbo, validation_negative_elbo_macro=elbo
        )
        keeper.offer(record)
    assert keeper.best == 1
