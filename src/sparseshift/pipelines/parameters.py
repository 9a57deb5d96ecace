"""The parameters of the project, typed: an unknown or impossible value stops before any node."""

from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from sparseshift.errors import OptionError, SparseshiftError
from sparseshift.pipelines.simulation_parameters import SimulationParameters, StudyParameters
from sparseshift.pipelines.strict import Strict


class ColumnsParameters(Strict):
    """Where a screen keeps what the models need (`screens.columns.Columns`)."""

    perturbation: str
    control: str | None = None
    batch: str | None = None
    layer: str | None = None
    symbol: str | None = None


class LabelsParameters(Strict):
    """How the source says what was done to a cell (`screens.cut.LabelRule`)."""

    column: str
    controls: list[str] = Field(default_factory=list)
    separator: str | None = "+"
    pattern: str | None = None
    part: str | None = None


class CutParameters(Strict):
    """What is taken from the source of a screen (`screens.cut.Cut`); tables are catalog entries."""

    source: str | None = None  # None: NAME.source
    labels: LabelsParameters
    drop: dict[str, list[str]] = Field(default_factory=dict)
    perturbations: str | None = None
    n_control_cells: int | None = Field(default=None, ge=0)
    genes: str | None = None
    seed: int = 0


class FiltersParameters(Strict):
    """Which cells, perturbations and genes stay (`screens.filters.Filters`)."""

    min_counts_per_cell: int = Field(default=1, ge=0)
    min_genes_per_cell: int = Field(default=0, ge=0)
    max_counts_per_cell: int | None = Field(default=None, ge=1)
    min_cells_per_perturbation: int = Field(default=20, ge=1)
    min_cells_per_gene: int = Field(default=10, ge=0)


class GenesParameters(Strict):
    """Which genes models see (`screens.genes.choose_genes`), chosen on training cells."""

    n_top: int | None = Field(default=None, ge=1)
    protect_targets: bool = True


class HeldOutParameters(Strict):
    """A rule by which perturbations are held out (`screens.held_out.HeldOutRule`)."""

    largest: int | None = Field(default=None, ge=1)
    listed: str | None = None  # name of a list in the file of the screen's `lists`
    doubles: int | None = Field(default=None, ge=1)
    fold: int | None = Field(default=None, ge=0)
    n_folds: int = Field(default=5, ge=2)
    singles_seen: int = Field(default=2, ge=0, le=2)

    @model_validator(mode="after")
    def _one_rule(self) -> "HeldOutParameters":
        given = [
            n for n in ("largest", "listed", "doubles", "fold") if getattr(self, n) is not None
        ]
        if len(given) != 1:
            raise ValueError(
                f"give one of largest, listed, doubles and fold (given: {', '.join(given) or 'none'})."
            )
        return self


class SplitParameters(Strict):
    """How a split is drawn (`data.splits.make_split`)."""

    held_out: int | list[str] | HeldOutParameters = 0
    seed: int = 0
    support_fraction: float = Field(default=0.5, gt=0.0, lt=1.0)
    cells_fraction: float = Field(default=0.0, ge=0.0, lt=1.0)


class ScreenParameters(Strict):
    """One screen: what it is called in its file, and what is done with it."""

    columns: ColumnsParameters
    cut: CutParameters | None = None  # of a source; without, the raw screen is used as it is
    guide: str | None = (
        None  # obs column with the guide of each cell, for the test of control guides
    )
    lists: str | None = None  # catalog entry with named lists of perturbations to hold out
    filters: FiltersParameters = FiltersParameters()
    genes: GenesParameters = GenesParameters()
    splits: dict[str, SplitParameters] = Field(default_factory=lambda: {"full": SplitParameters()})
    simulate: SimulationParameters | None = None
    shared_mechanism: list[str] = Field(
        default_factory=list
    )  # perturbations expected to share latents

    @model_validator(mode="after")
    def _none_or_some(self) -> "ScreenParameters":
        if len(set(self.shared_mechanism)) != len(self.shared_mechanism):
            raise ValueError("shared_mechanism names a perturbation twice.")
        if len(self.shared_mechanism) == 1:
            raise ValueError("shared_mechanism needs two perturbations or more, or none.")
        return self

    @model_validator(mode="after")
    def _goes_together(self) -> "ScreenParameters":
        if self.cut is not None and self.simulate is not None:
            raise ValueError("a screen is cut from a source or simulated, not both.")
        rules = [s.held_out for s in self.splits.values()]
        if self.lists is None and any(
            isinstance(rule, HeldOutParameters) and rule.listed is not None for rule in rules
        ):
            raise ValueError(
                "a split holds out a list, so that lists must name the catalog entry with it."
            )
        if self.cut is not None and bool(self.cut.labels.controls) != (
            self.columns.control is not None
        ):
            raise ValueError(
                "cut.labels.controls, what the control is called in the source, and columns.control, what it "
                "is called from there on, are given both or not at all."
            )
        return self


class ModelParameters(Strict):
    """One model: a preset and how to fit it (`sparseshift.fit`); None is the preset's choice."""

    preset: str
    n_latents: int = Field(default=15, ge=1)
    max_epochs: int | None = Field(default=None, ge=1)
    batch_size: int | None = Field(default=None, ge=1)
    validation_fraction: float | None = Field(default=None, ge=0.0, lt=1.0)
    warm_start: Literal["auto", "rotation"] | None = "auto"
    device: str = "auto"
    storage: Literal["auto", "memory", "disk"] = "auto"
    adaptation: Literal["dense", "sparse"] = "dense"  # of held-out perturbations to support cells
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known_options(self) -> "ModelParameters":
        from sparseshift.api import check_options

        named = ("max_epochs", "batch_size", "validation_fraction")
        given = {name: getattr(self, name) for name in named if getattr(self, name) is not None}
        if twice := sorted(set(self.options) & set(named)):
            raise ValueError(f"options: {', '.join(twice)} stands beside preset, not in options.")
        try:
            check_options(self.preset, {**given, **self.options}, warm_start=self.warm_start)
        except OptionError as error:
            raise ValueError(str(error)) from error
        return self

    @model_validator(mode="after")
    def _has_masks_to_adapt(self) -> "ModelParameters":
        from sparseshift.api import check_sparse_adaptation

        try:
            if self.adaptation == "sparse":
                check_sparse_adaptation(self.preset, self.options)
        except OptionError as error:
            raise ValueError(str(error)) from error
        return self

    def fit_settings(self) -> dict[str, Any]:
        """Keywords of `sparseshift.fit`."""
        settings = self.model_dump(exclude={"options", "adaptation"})
        return {**settings, **self.options}

    @property
    def is_linear(self) -> bool:
        """Whether it is a linear baseline: no likelihood, no training history, no decoder of counts."""
        from sparseshift.models.linear_factors import METHODS

        return self.preset in METHODS

    @property
    def has_shifts(self) -> bool:
        """Whether perturbations move its latents."""
        from sparseshift.presets import get_preset

        shift = "additive" if self.is_linear else get_preset(self.preset).options.shift
        return bool(self.options.get("shift", shift) != "none")


class CheckpointParameters(Strict):
    """Where the states of fits are kept; a relative folder is one in the project."""

    folder: str | None = "data/06_models/checkpoints"  # None: nowhere
    keep_days: float = Field(default=30, gt=0)  # since a state was last used


class EvaluationParameters(Strict):
    """How fits are scored (`scoring.ScoreSettings`)."""

    n_particles: int = Field(default=100, ge=1)
    n_draws: int = Field(default=10, ge=1)
    n_halves: int = Field(default=5, ge=1)
    n_resamples: int = Field(default=1000, ge=1)
    seed: int = 0
    n_shot: list[int] = Field(default_factory=lambda: [5, 10, 20, 50, 100])
    n_shot_draws: int = Field(default=10, ge=1)
    n_shot_gradient_draws: int = Field(default=2, ge=0)
    cell_eval: bool = False  # write predictions in the format of cell-eval too

    def score_settings(self) -> dict[str, Any]:
        """Fields of `scoring.ScoreSettings`."""
        named = {"n_particles", "n_draws", "n_halves", "n_resamples", "seed"}
        return self.model_dump(include=named)

    def n_shot_settings(self) -> dict[str, Any]:
        """Fields of `scoring.NShotSettings`."""
        return {
            "sizes": tuple(self.n_shot),
            "n_draws": self.n_shot_draws,
            "gradient_draws": self.n_shot_gradient_draws,
        }


class RefitParameters(Strict):
    """Further fits of the model and split of the report, to see how far to trust its graph."""

    permutations: int = Field(default=1, ge=0)  # of the labels
    half_samples: int = Field(default=0, ge=0)  # pairs of complementary halves of the cells
    control_guides: bool = True  # where a screen names its guides


class ReportParameters(Strict):
    """What the report shows."""

    model: str = "svae_plus"
    split: str = "full"
    embedding_cells: int = Field(default=3000, ge=10)
    genes_per_latent: int = Field(default=8, ge=1)
    seed: int = 0


class RunParameters(Strict):
    """The grid of fits: every screen, every split with its models, every seed."""

    screens: list[str] = Field(min_length=1)
    fits: dict[str, list[str]]
    seeds: list[int] = Field(min_length=1)

    @field_validator("fits")
    @classmethod
    def _some(cls, fits: dict[str, list[str]]) -> dict[str, list[str]]:
        # an environment can add and change keys, not take them away: with no models it does
        if not (used := {split: models for split, models in fits.items() if models}):
            raise ValueError("no split has a model to fit.")
        return used


class ProjectParameters(Strict):
    """All parameters of the project: conf/*/parameters*.yml."""

    run: RunParameters
    screens: dict[str, ScreenParameters]
    models: dict[str, ModelParameters]
    checkpoints: CheckpointParameters = CheckpointParameters()
    evaluation: EvaluationParameters = EvaluationParameters()
    report: ReportParameters = ReportParameters()
    refits: RefitParameters = RefitParameters()
    study: StudyParameters | None = None

    @model_validator(mode="after")
    def _names_exist(self) -> "ProjectParameters":
        _require("run.screens", self.run.screens, "screens", list(self.screens))
        for split, models in self.run.fits.items():
            _require(f"run.fits.{split}", models, "models", list(self.models))
        for screen in self.run.screens:
            splits = list(self.screens[screen].splits)
            _require("run.fits", list(self.run.fits), f"screens.{screen}.splits", splits)
        _require("report.split", [self.report.split], "run.fits", list(self.run.fits))
        fitted = self.run.fits[self.report.split]
        _require("report.model", [self.report.model], f"run.fits.{self.report.split}", fitted)
        if self.models[self.report.model].is_linear:
            raise ValueError(
                f"report.model is {self.report.model}, a linear baseline: it has no decoder to "
                "read the genes of a latent from. Name a VAE."
            )
        return self

    @model_validator(mode="after")
    def _models_of_the_study_exist(self) -> "ProjectParameters":
        if self.study is not None:
            known = list(self.models)
            _require("study.models", self.study.models, "models", known)
            for name, condition in self.study.conditions.items():
                where = f"study.conditions.{name}.models"
                _require(where, condition.models or [], "models", known)
        return self

    @classmethod
    def check(cls, content: dict[str, Any]) -> "ProjectParameters":
        """The typed parameters.

        Raises:
            SparseshiftError: with every fault, each by the name of its key.
        """
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise SparseshiftError(_explain(error)) from error


def _require(where: str, wanted: list[str], there: str, known: list[str]) -> None:
    if missing := [name for name in wanted if name not in known]:
        raise ValueError(
            f"{where} names {', '.join(missing)}, which {there} does not have. "
            f"It has: {', '.join(known)}."
        )


def _explain(error: ValidationError) -> str:
    faults = []
    for fault in error.errors():
        key = ".".join(map(str, fault["loc"])) or "parameters"
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            message = "there is no such parameter; see conf/README.md for those there are."
        given = "" if isinstance(fault["input"], dict) else f" (given: {fault['input']!r})"
        faults.append(f"  {key}: {message}{given}")
    count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}"
    return f"The parameters have {count}; nothing was run.\n" + "\n".join(faults)
