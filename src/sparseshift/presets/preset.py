"""What a preset is: parts, settings of training, and a recipe."""

from dataclasses import dataclass, field

from sparseshift.errors import OptionError
from sparseshift.models.options import Options
from sparseshift.training.config import TrainingConfig
from sparseshift.training.recipes import RECIPES

ADAPTATIONS = ("closed_form", "gradient", "paper")


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

    def __post_init__(self) -> None:
        for name, choices in (("recipe", RECIPES), ("adaptation", ADAPTATIONS)):
            if getattr(self, name) not in choices:
                raise OptionError(
                    f"{name}={getattr(self, name)!r} is not one of {', '.join(choices)}."
                )
