"""What happened in training."""

import math

import pytest

from sparseshift.training.history import HISTORY_COLUMNS, History, Record, edges_are_stable


def history_of(*n_edges: int, best: int = 0, phase: int = 0) -> History:
    """One record a count of edges."""
    records = [
        Record(phase, i, i, 1.0, 0.0, float(i), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, n)
        for i, n in enumerate(n_edges)
    ]
    return History(tuple(records), best)


@pytest.mark.parametrize(
    ("n_edges", "window", "stable"),
    [
        ([7, 7, 7], 3, True),
        ([7, 8, 7], 3, True),
        ([7, 9, 7], 3, False),
        ([99, 7, 8, 8], 3, True),
        ([1000, 1010, 1005], 3, True),
        ([1000, 1011, 1005], 3, False),
        ([0, 0], 2, True),
        ([7, 7], 3, False),
        ([5], 1, True),
        ([], 1, False),
    ],
)
def test_edges_are_stable_within_one_or_one_in_a_hundred(
    n_edges: list[int], window: int, stable: bool
) -> None:
    assert edges_are_stable(n_edges, window) == stable


def test_a_phase_follows_another() -> None:
    first, second, third = history_of(9, 8, best=1), history_of(7, 6, 5, best=2), history_of(4)
    whole = first.then(second).then(third)
    assert [record.phase for record in whole.records] == [0, 0, 1, 1, 1, 2]
    assert [record.n_edges for record in whole.records] == [9, 8, 7, 6, 5, 4]
    assert [record.epoch for record in whole.records] == [0, 1, 0, 1, 2, 0]
    # the weights are those of the last phase
    assert whole.best == 5
    assert first.then(second).best_record == second.best_record._replace(phase=1)
    assert History((), 0).then(second) == second


def test_rows_count_over_all_phases_and_mark_the_best() -> None:
    whole = history_of(9, 8, 7, best=1).then(history_of(6, 5, best=0))
    rows = whole.rows()
    assert [tuple(row) for row in rows] == [HISTORY_COLUMNS] * 5
    assert [row["epoch"] for row in rows] == [0, 1, 2, 0, 1]
    for name in ("total_epoch", "total_step"):
        assert [row[name] for row in rows] == [0, 1, 2, 2, 3]
    assert [row["best"] for row in rows] == [False, False, False, True, False]
    assert History((), 0).rows() == []


def test_edges_have_converged_if_the_last_tenth_of_the_last_phase_agrees() -> None:
    assert history_of(50, 40, 20, 9, 9, 9).edges_converged
    assert not history_of(50, 40, 20, 9, 9, 7).edges_converged
    # three evaluations at the least
    assert not history_of(50, 40, 20, 12, 9, 9).edges_converged
    long = [90] * 60 + [9] * 7
    assert history_of(*long).edges_converged
    assert not history_of(*long[:-1], 5).edges_converged
    assert not history_of(*[90] * 62, *[9] * 5).edges_converged
    # earlier phases do not count
    assert history_of(90, 50, 20).then(history_of(9, 9, 9)).edges_converged
    assert not history_of(9, 9, 9).then(history_of(90, 50, 20)).edges_converged


def test_a_short_fit_has_converged_if_all_its_evaluations_agree() -> None:
    assert history_of(0).edges_converged
    assert history_of(4, 4).edges_converged
    assert not history_of(9, 4).edges_converged


def test_the_objective_at_a_weight_of_the_kl_terms() -> None:
    """R = 7 and K = 3 nats, of which the record holds K - R: w K - R at any weight w."""
    record = (
        history_of(0)
        .records[0]
        ._replace(validation_objective=-4.0, validation_kl_cost=3.0, train_negative_elbo=5.0)
    )
    worse = record._replace(validation_objective=0.0)
    history = History((worse, record, worse), best=1)
    for weight in (0.0, 0.33, 1.0):
        assert history.objective_at(weight) == pytest.approx(weight * 3.0 - 7.0)
    unseen = record._replace(validation_objective=math.nan, validation_kl_cost=math.nan)
    assert History((unseen,), best=0).objective_at(0.33) == 5.0
