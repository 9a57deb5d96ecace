"""What happened in training: one record an evaluation."""

from typing import NamedTuple


class Record(NamedTuple):
    """One evaluation. All ELBO terms are nats a cell; lower is better for negative ELBOs.

    Attributes:
        epoch: epochs done.
        step: gradient steps done.
        kl_weight: weight of the KL terms in the last step.
        learning_rate: of the last step.
        train_negative_elbo: mean over the training steps since the last record, with KL weight 1
            and in training mode.
        validation_negative_elbo: mean over validation cells; NaN without validation cells.
        validation_negative_elbo_macro: the same, averaged over perturbations first.
        validation_reconstruction: E_q[log p(x | z)] of the validation cells.
        validation_kl: KL(q(z | x) || p(z | a)) of the validation cells.
        penalty: what the prior's parameters cost, nats a training cell.
        n_edges: inclusion probabilities above 1/2.
    """

    epoch: int
    step: int
    kl_weight: float
    learning_rate: float
    train_negative_elbo: float
    validation_negative_elbo: float
    validation_negative_elbo_macro: float
    validation_reconstruction: float
    validation_kl: float
    penalty: float
    n_edges: int


class History(NamedTuple):
    """All records of a fit, and which of them the returned weights belong to."""

    records: tuple[Record, ...]
    best: int

    @property
    def best_record(self) -> Record:
        """The record of the returned weights."""
        return self.records[self.best]
