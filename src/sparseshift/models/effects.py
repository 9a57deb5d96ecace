"""How far a perturbation shifts a latent it hits: effects as numbers, or as distributions."""

from torch import Tensor, nn


class PointEffect(nn.Module):
    """Effects e as point estimates; they cost nothing.

    Args:
        table: starting values, (perturbations, latents).
    """

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table)

    def mean(self) -> Tensor:
        """e, (perturbations, latents)."""
        return self.table

    def variance(self) -> Tensor | None:
        """None: the effects are known."""
        return None

    def sample(self, noise: Tensor) -> Tensor:
        """e, whatever the noise."""
        del noise
        return self.table

    def cost(self) -> Tensor:
        """Zero."""
        return self.table.new_zeros(())


class NormalEffect(PointEffect):
    """A normal posterior over effects under a prior N(0, scale^2) (Bereket & Karaletsos 2023).

    Args:
        table: starting means, (perturbations, latents).
        log_std: starting log standard deviations, (perturbations, latents).
        scale: standard deviation of the prior.
    """

    def __init__(self, table: Tensor, log_std: Tensor, scale: float) -> None:
        super().__init__(table)
        self.log_std = nn.Parameter(log_std)
        self.scale = scale

    def variance(self) -> Tensor:
        """s^2, (perturbations, latents)."""
        return (2.0 * self.log_std).exp()

    def sample(self, noise: Tensor) -> Tensor:
        """Mean + s * noise; noise is standard normal, (..., perturbations, latents)."""
        return self.table + self.log_std.exp() * noise

    def cost(self) -> Tensor:
        """Sum of KL(N(e, s^2) || N(0, scale^2)), nats."""
        ratio = self.variance() / self.scale**2
        squared = (self.table / self.scale).square()
        return 0.5 * (squared + ratio - 1.0 - ratio.log()).sum()
