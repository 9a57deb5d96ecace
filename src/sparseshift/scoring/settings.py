"""How fits are scored."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ScoreSettings:
    """How to score.

    Attributes:
        n_particles: of the IWELBO.
        n_draws: cells sampled for each query or control cell when effects are predicted.
        n_halves: times the control cells are halved anew when effects are compared.
        n_resamples: of every bootstrap.
        seed: of draws and resamples.
    """

    n_particles: int = 100
    n_draws: int = 10
    n_halves: int = 5
    n_resamples: int = 1000
    seed: int = 0
