"""How strong a Beta(1, alpha) prior has to be, from the effects that a rotation shows."""

from torch import Tensor

SHARE = (
    1.0 / 3.0
)  # of a perturbation's largest effect: what a rotation leaves behind on other latents is less
EVIDENCE = 25.0  # n m^2 of an effect of five standard errors: a rotation looks for what stands out


def alpha_by_perturbation(effects: Tensor, cells: Tensor) -> Tensor:
    """Alpha of each perturbation, so that an edge is called from the same effect however many its cells.

    An edge is called at n m^2 > 4 (alpha - 1) (`inclusion.beta_inclusion`). With one alpha for all,
    few cells would hide edges and many make them of traces. Here an edge needs a third of the
    perturbation's largest effect, and five standard errors:

        alpha_p = 1 + max(n_p (max_j |m_pj| / 3)^2, 25) / 4

    Args:
        effects: m, (perturbations, latents).
        cells: n of each perturbation, (perturbations,).

    Returns:
        (perturbations, 1), at least 7.25.
    """
    largest = effects.abs().amax(dim=1) if effects.shape[1] else cells * 0.0
    needed = (cells * (SHARE * largest).square()).clamp(min=EVIDENCE)
    return (1.0 + needed / 4.0).unsqueeze(1)
