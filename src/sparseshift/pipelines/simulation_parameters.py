"""Parameters of simulated screens, and of a study of many of them."""

from typing import Any, Literal

from pydantic import Field, model_validator

from sparseshift.data.simulators.registry import check_names
from sparseshift.errors import OptionError
from sparseshift.pipelines.strict import Strict


class SimulationParameters(Strict):
    """A simulated screen in place of a file (`sparseshift.simulate`); null: the simulator's default."""

    name: Literal["paper", "default"] = "paper"
    seed: int = 0
    n_perturbations: int | None = Field(default=None, ge=1)
    n_cells_per_perturbation: int | None = Field(default=None, ge=1)
    n_control_cells: int | None = Field(default=None, ge=0)
    n_combinations: int | None = Field(default=None, ge=0)
    n_latents: int | None = Field(default=None, ge=1)
    n_genes: int | None = Field(default=None, ge=1)
    n_targeted_latents: int | None = Field(default=None, ge=1)
    n_batches: int | None = Field(default=None, ge=1)
    effect_size: float | None = Field(default=None, ge=0.0)
    density: float | None = Field(default=None, gt=0.0, le=1.0)
    graph: Literal["random", "identifiable", "confounded"] | None = None
    guide_efficiency: float | None = Field(default=None, ge=0.0, le=1.0)
    batch_effect: float | None = Field(default=None, ge=0.0)
    depth: float | None = Field(default=None, ge=1.0)
    depth_spread: float | None = Field(default=None, ge=0.0)

    @property
    def settings(self) -> dict[str, Any]:
        """Of the simulator, those that are not its defaults."""
        return self.model_dump(exclude={"name", "seed"}, exclude_none=True)

    @model_validator(mode="after")
    def _known_to_the_simulator(self) -> "SimulationParameters":
        try:
            check_names(self.name, self.settings)
        except OptionError as error:
            raise ValueError(str(error)) from None
        return self


class ConditionParameters(Strict):
    """One kind of simulated screen of a study, and what is fitted to it."""

    simulate: SimulationParameters = SimulationParameters()
    models: list[str] | None = Field(default=None, min_length=1)  # None: those of the study
    n_latents: int | None = Field(default=None, ge=1)  # of the fits; None: as the model says
    batch: bool = False  # whether the fits are told the batch
    permute_labels: bool = False  # cells exchange labels: there is nothing to find
    held_out_fraction: float = Field(default=0.2, ge=0.0, lt=1.0)  # of the perturbations
    unseen_fraction: float = Field(default=0.1, ge=0.0, lt=1.0)  # of the cells of the others
    published: str | None = None  # setting of the published tables to print beside

    @model_validator(mode="after")
    def _seeds_are_of_the_study(self) -> "ConditionParameters":
        if self.simulate.seed:
            raise ValueError("simulate.seed: a study says its seeds once, in study.data_seeds.")
        return self


class StudyParameters(Strict):
    """A simulation study: a fit for every condition, data seed, model and model seed."""

    conditions: dict[str, ConditionParameters] = Field(min_length=1)
    models: list[str] = Field(min_length=1)
    data_seeds: list[int] = Field(min_length=1)
    model_seeds: list[int] = Field(min_length=1)
    drawn: str | None = None  # model whose graph is drawn; None: the last
    choose_among: list[str] = Field(default_factory=list)  # models to choose from, truth unseen

    @model_validator(mode="after")
    def _each_once(self) -> "StudyParameters":
        for name in ("models", "data_seeds", "model_seeds"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} names one twice: {values}.")
            if name != "models" and min(values) < 0:
                raise ValueError(f"{name} must not be negative: {values}.")
        for name in self.conditions:
            if "." in name:
                raise ValueError(
                    f"conditions: {name!r} has a dot; names of datasets are made of it."
                )
        if self.drawn is not None and self.drawn not in self.models:
            raise ValueError(f"drawn is {self.drawn}, which models does not have.")
        if missing := [name for name in self.choose_among if name not in self.models]:
            raise ValueError(
                f"choose_among names {', '.join(missing)}, which models does not have."
            )
        return self

    def models_of(self, condition: str) -> list[str]:
        """What is fitted to a condition."""
        return self.conditions[condition].models or self.models
