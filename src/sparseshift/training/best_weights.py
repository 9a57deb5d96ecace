"""Early stopping: which weights of a fit are kept, and when it may end."""

from torch import Tensor

from sparseshift.models.vae import PerturbationVAE
from sparseshift.training.history import Record, edges_are_stable, objectives_less_ramp


class BestWeights:
    """Keeps the weights of the best validation objective, macro over perturbations.

    While the KL weight rises, what its rise adds is taken off (`objectives_less_ramp`), so that a model that still
    learns is better at every evaluation, and one that overfits no longer is. Without validation cells
    the latest weights are always kept. Training may end after `patience` evaluations without a better
    score, once the number of edges no longer moves.

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
        self.patient_since = 0
        self.state = self._copy()

    def offer(self, record: Record) -> bool:
        """Takes one evaluation; True when training should stop."""
        self.records.append(record)
        scores = objectives_less_ramp(self.records)
        latest = len(scores) - 1
        if latest == 0 or not self.validated or scores[latest] < scores[self.best]:
            self.best, self.state = latest, self._copy()
        edges = [r.n_edges for r in self.records]
        waited = latest - max(self.best, self.patient_since)
        return waited >= self.patience and edges_are_stable(edges, self.patience)

    def restore(self) -> None:
        """Puts the best weights back into the model."""
        self.model.load_state_dict(self.state)

    def have_patience_anew(self) -> None:
        """Counts evaluations without a better score from now on."""
        self.patient_since = len(self.records) - 1

    def _copy(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.model.state_dict().items()}
