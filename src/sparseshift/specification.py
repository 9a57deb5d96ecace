"""What a fitted model is, but its weights: enough to build it again."""

from dataclasses import dataclass
from typing import Any

import torch

from sparseshift.data.design import Design
from sparseshift.models.build import build_model
from sparseshift.models.options import Options
from sparseshift.models.vae import PerturbationVAE
from sparseshift.screens.columns import Columns
from sparseshift.training.config import TrainingConfig
from sparseshift.training.recipes import freeze_graph


@dataclass(frozen=True)
class Specification:
    """All that is needed to build a model again, but its weights.

    Attributes:
        preset: its name.
        recipe: how it was trained (`training.recipes`).
        options: of the model.
        training: settings it was trained with.
        columns: of the screen it was trained on.
        design: rows of the effect table, trained ones first.
        trained: perturbations that were trained.
        genes: var_names, in the order of the weights.
        batches: names in the order of their codes; empty without batches.
        n_latents: dimensions of z.
        seed: of the fit.
        adapted: whether rows were placed after training, with everything else frozen.
    """

    preset: str
    recipe: str
    options: Options
    training: TrainingConfig
    columns: Columns
    design: Design
    trained: tuple[str, ...]
    genes: tuple[str, ...]
    batches: tuple[str, ...]
    n_latents: int
    seed: int
    adapted: bool = False

    def build(self) -> PerturbationVAE:
        """A model of this shape with fresh weights."""
        module = build_model(
            self.options,
            self.design,
            n_genes=len(self.genes),
            n_batches=max(1, len(self.batches)),
            n_latents=self.n_latents,
            seed=self.seed,
        )
        if self.training.freeze_graph:
            freeze_graph(module)
        if self.adapted:
            none = torch.zeros(0, self.n_latents)
            module.prior = module.prior.extended(none)
        return module

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Specification":
        """The specification of plain data, as `dataclasses.asdict` made it."""
        plain: dict[str, Any] = dict(content)
        for name in ("trained", "genes", "batches"):
            plain[name] = tuple(plain[name])
        design = dict(plain["design"])
        design["perturbations"] = tuple(design["perturbations"])
        plain["design"] = Design(**design)
        plain["options"] = Options(**plain["options"])
        plain["training"] = TrainingConfig(**plain["training"])
        plain["columns"] = Columns(**plain["columns"])
        return cls(**plain)
