"""What a preset is: parts, settings of training, and a recipe."""

from dataclasses import dataclass, field

from sparseshift.models.options import Options
from sparseshift.training.config import TrainingConfig

RECIPES = ("plain", "rotation", "rotation_only", "paper")


@dataclass(frozen=True)
class Preset:
    """A model of the family.

    Attributes:
        options: its parts.
        training: how it is trained unless told otherwise.
        recipe: the phases of its training (`training.recipes`).
        adaptation: how new perturbations are placed: "closed_form", "gradient", or "paper"
            (gradient in training mode, rate .005).
    """

    options: Options
    training: TrainingConfig = field(default_factory=TrainingConfig)
    recipe: str = "plain"
    adaptation: str = "closed_form"
