"""What a fitted decomposition is, but its arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sparseshift.data.design import Design
from sparseshift.screens.columns import Columns


@dataclass(frozen=True)
class FactorSpecification:
    """Method, names and settings of a fitted decomposition.

    Attributes:
        preset: the method, one of `METHODS`.
        columns: of the screen it was fitted to.
        design: rows of the effect table, trained ones first; combinations add up.
        trained: perturbations that were trained.
        genes: var_names, in the order of the arrays.
        n_latents: dimensions of z.
        seed: of the fit.
        target_total: counts a cell is scaled to, the median total of the training cells.
        adapted: whether rows were placed after training, with everything else frozen.
    """

    preset: str
    columns: Columns
    design: Design
    trained: tuple[str, ...]
    genes: tuple[str, ...]
    n_latents: int
    seed: int
    target_total: float
    adapted: bool = False

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> FactorSpecification:
        """The specification of plain data, as `dataclasses.asdict` made it."""
        plain = {**content, "columns": Columns(**content["columns"])}
        design = content["design"]
        plain["design"] = Design(**{**design, "perturbations": tuple(design["perturbations"])})
        for name in ("trained", "genes"):
            plain[name] = tuple(plain[name])
        return cls(**plain)
