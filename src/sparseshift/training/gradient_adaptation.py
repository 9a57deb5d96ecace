"""Placing new perturbations by gradient, where the encoder sees them and no closed form exists."""

import copy

import torch

from sparseshift.data.cells import Cells
from sparseshift.models.adaptation import with_new_rows
from sparseshift.models.effects import NormalEffect
from sparseshift.models.priors import ShiftPrior
from sparseshift.models.vae import PerturbationVAE
from sparseshift.training.threads import one_thread


@one_thread()
def adapted_by_gradient(
    model: PerturbationVAE,
    support: Cells,
    n_known: int,
    *,
    seed: int,
    steps: int = 500,
    learning_rate: float = 0.05,
    training_mode: bool = False,
) -> PerturbationVAE:
    """A model with rows for new perturbations, fitted to maximise the ELBO of support cells.

    Only the new rows of the effect table (of the embedding, in a conditional model) move.

    Args:
        model: trained, with n_known rows; it is not changed.
        support: their design has the known perturbations first, then the new ones.
        n_known: rows of the trained model.
        seed: of the draws.
        steps: of Adam, on all support cells at once.
        learning_rate: of Adam; it falls to zero along a half cosine.
        training_mode: with dropout, and normalised by the support cells (two at least), as the
            published code does for its baselines.
    """
    n_new = support.design.shape[1] - n_known
    rows = torch.zeros(n_new, model.n_latents, device=model.device)
    embedding = None
    if model.embedding is not None:
        embedding = torch.cat([model.embedding.detach(), rows])
    # a copy: modes, running statistics and what needs a gradient change on the way
    adapted = with_new_rows(copy.deepcopy(model), model.prior.extended(rows), embedding)
    adapted.eval().requires_grad_(False)
    free = _rows(adapted)
    if not free or n_new == 0:
        return adapted
    training_mode = training_mode and support.n_cells > 1
    if training_mode:
        state = {name: value.clone() for name, value in adapted.state_dict().items()}
        adapted.train()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        _ascend(adapted, support, free, n_known, steps, learning_rate)
    if training_mode:  # running statistics of the trained model are not to move with it
        trained = dict(adapted.named_parameters())
        state |= {name: value.detach() for name, value in trained.items()}
        adapted.load_state_dict(state)
    return adapted.eval()


def _rows(model: PerturbationVAE) -> list[torch.nn.Parameter]:
    if model.embedding is not None:
        return [model.embedding]
    if not isinstance(model.prior, ShiftPrior):
        return []
    effects = model.prior.effects
    spread = [effects.log_std] if isinstance(effects, NormalEffect) else []
    return [effects.table, *spread]


def _ascend(
    model: PerturbationVAE,
    support: Cells,
    free: list[torch.nn.Parameter],
    n_known: int,
    steps: int,
    learning_rate: float,
) -> None:
    for parameter in free:
        parameter.requires_grad_(True)
    adam = torch.optim.Adam(free, lr=learning_rate)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for _ in range(steps):
        adam.zero_grad()
        terms = model.elbo_terms(support, model.draw_noise(support), support.n_cells)
        terms.negative_elbo(support.n_cells).backward()
        for parameter in free:
            if parameter.grad is not None:
                parameter.grad[:n_known] = 0.0
        adam.step()
        cosine.step()
    for parameter in free:
        parameter.requires_grad_(False)
