"""Early stopping: which weights of a fit are kept, and when it may end."""

from torch import Tensor

from sparseshift.models.vae import PerturbationVAE
from sparseshift.training.history import Record, edges_are_stable


class BestWeights:
    """Keeps the weights of the best validation objective, macro over perturbations.

    During the warm-up the objective still changes, so the latest weights count as the best, up to
    the first evaluation after it; without validation cells the latest are always kept. Training
    may end after `patience` evaluations without a better score, once the warm-up is over and the
    number of edges no longer moves.

    Args:
        model: whose weights are kept.
        patience: evaluations without a better score before training stops.
        validated: whether there are validation cells.
    """

    def __init__(self, model: PerturbationVAE, patience: int, *, validated: bool) -> None:
        self.model = model
        self.patience = patience
        self.validated = validated
        self.records: list[Record] = []
        self.best = 0
        self.was_warm = False
        self.state = self._copy()

    def offer(self, record: Record, *, warm: bool) -> bool:
        """Takes one evaluation, `warm` once the warm-up is over; True when training should stop."""
        self.records.append(record)
        latest = not self.was_warm or not self.validated
        self.was_warm = warm
        best = self.records[self.best]
        if latest or record.validation_objective < best.validation_objective:
            self.best, self.state = len(self.records) - 1, self._copy()
        waited = len(self.records) - 1 - self.best
        edges = [r.n_edges for r in self.records]
        return warm and waited >= self.patience and edges_are_stable(edges, self.patience)

    def restore(self) -> None:
        """Puts the best weights back into the model."""
        self.model.load_state_dict(self.state)

    def _copy(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.model.state_dict().items()}
