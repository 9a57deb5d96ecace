"""What happened in training: one record an evaluation."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple


class Record(NamedTuple):
    """One evaluation. All ELBO terms are nats a cell; lower is better for negative ELBOs.

    Attributes:
        phase: part of the recipe, from 0.
        epoch: epochs done in it.
        step: gradient steps done in it.
        kl_weight: weight of the KL terms in the last step.
        learning_rate: of the last step.
        train_negative_elbo: mean over the training steps since the last record, with KL weight 1
            and in training mode.
        validation_negative_elbo: mean over validation cells; NaN without validation cells.
        validation_negative_elbo_macro: the same, averaged over perturbations first.
        validation_objective: the same with the model's beta; `objectives_less_ramp` chooses the best weights by it.
        validation_reconstruction: E_q[log p(x | z)] of the validation cells.
        validation_kl: KL(q(z | x) || p(z | a)) of the validation cells.
        validation_kl_cost: what `kl_weight` multiplies: of the objective all but the reconstruction.
        penalty: what the prior's parameters cost, nats a training cell.
        n_edges: inclusion probabilities above 1/2.
    """

    phase: int
    epoch: int
    step: int
    kl_weight: float
    learning_rate: float
    train_negative_elbo: float
    validation_negative_elbo: float
    validation_negative_elbo_macro: float
    validation_objective: float
    validation_reconstruction: float
    validation_kl: float
    validation_kl_cost: float
    penalty: float
    n_edges: int


# of a history as a table: epochs and gradient steps over all phases, and whether the returned
# weights are those of this record
HISTORY_COLUMNS = (*Record._fields, "total_epoch", "total_step", "best")


class History(NamedTuple):
    """What happened in a fit.

    Attributes:
        records: of all evaluations.
        best: number of the record that the returned weights belong to.
        cpu_seconds: of the process in training and its evaluations, those before an interruption
            included; several models fitted as one have equal shares.
    """

    records: tuple[Record, ...]
    best: int
    cpu_seconds: float = 0.0

    @property
    def best_record(self) -> Record:
        """The record of the returned weights."""
        return self.records[self.best]

    @property
    def edges_converged(self) -> bool:
        """Whether the last tenth of the last phase's evaluations agree on the number of edges.

        The last three at least, or as many as there are.
        """
        last = [r.n_edges for r in self.records if r.phase == self.records[-1].phase]
        return edges_are_stable(last, min(len(last), max(3, len(last) // 10)))

    def objective_at(self, kl_weight: float) -> float:
        """The objective of the returned weights at this weight of the KL terms, nats a cell, lower is better.

        Of the validation cells; without any, the negative ELBO of the training cells.
        """
        best = self.best_record
        value = best.validation_objective - (1.0 - kl_weight) * best.validation_kl_cost
        return best.train_negative_elbo if math.isnan(value) else value

    def rows(self) -> list[dict[str, Any]]:
        """A record each, with `HISTORY_COLUMNS`."""
        steps, epochs, phase = 0, 0, 0
        rows: list[dict[str, Any]] = []
        for number, record in enumerate(self.records):
            if record.phase != phase:
                steps, epochs = rows[-1]["total_step"], rows[-1]["total_epoch"]
                phase = record.phase
            total = {"total_epoch": epochs + record.epoch, "total_step": steps + record.step}
            rows.append({**record._asdict(), **total, "best": number == self.best})
        return rows

    def then(self, later: "History") -> "History":
        """This fit followed by another phase."""
        phase = self.records[-1].phase + 1 if self.records else 0
        moved = tuple(record._replace(phase=phase) for record in later.records)
        return History(
            self.records + moved,
            len(self.records) + later.best,
            self.cpu_seconds + later.cpu_seconds,
        )


def objectives_less_ramp(records: Sequence[Record]) -> list[float]:
    """Validation objectives that can be compared while the KL weight rises, nats a cell, lower is better.

    The objective at the weight of the moment, w K - R with K the KL terms and R the reconstruction, rises with w: by
    K for each unit of it at the best weights (envelope theorem). That part is taken off, by the trapezoidal rule.
    What remains falls while the model learns, and rises when it overfits.

    Args:
        records: evaluations of one phase, in order.
    """
    values, ramp = [], 0.0
    for before, now in zip([records[0], *records], records, strict=False):
        kl = 0.5 * (before.validation_kl_cost + now.validation_kl_cost)
        ramp += kl * (now.kl_weight - before.kl_weight)
        at_weight = now.validation_objective - (1.0 - now.kl_weight) * now.validation_kl_cost
        values.append(at_weight - ramp)
    return values


def edges_are_stable(n_edges: list[int], window: int) -> bool:
    """Whether the last `window` counts differ by one edge, or one in a hundred, at most."""
    last = n_edges[-window:]
    return len(last) == window and max(last) - min(last) <= max(1, max(last) // 100)
