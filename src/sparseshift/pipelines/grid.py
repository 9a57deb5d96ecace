"""The grid of fits: a screen, a split, a model and a seed each, and where its datasets are."""

from typing import NamedTuple

from sparseshift.pipelines.parameters import ProjectParameters


class Fit(NamedTuple):
    """One cell of the grid."""

    screen: str
    split: str
    model: str
    seed: int

    @property
    def namespace(self) -> str:
        """screen.split.model.seed_N."""
        return f"{self.screen}.{self.split}.{self.model}.seed_{self.seed}"

    def dataset(self, name: str) -> str:
        """The full name of one of its datasets."""
        return f"{self.namespace}.{name}"


def fits_of(plan: ProjectParameters, screen: str) -> list[Fit]:
    """All fits of a screen, in the order of the configuration."""
    return [
        Fit(screen, split, model, seed)
        for split, models in plan.run.fits.items()
        for model in models
        for seed in plan.run.seeds
    ]
