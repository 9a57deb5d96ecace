"""A classical decomposition fitted to a screen, with the interface of `FittedModel`.

Profiles are log(1 + counts scaled to the median total of the training cells). The decomposition sees
no labels; effects are least squares on the labels afterwards, so every edge is on.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import pandas as pd

from sparseshift.data.cells import Cells
from sparseshift.data.design import Design
from sparseshift.errors import OptionError, require_whole
from sparseshift.evaluation.average_effects import log_normalise
from sparseshift.factor_specification import FactorSpecification
from sparseshift.model_files import write_model
from sparseshift.models.latent_shifts import label_means, least_squares_shifts, within_deviation
from sparseshift.models.linear_factors import LinearFactors, fit_linear_factors
from sparseshift.screens.cells import read_perturbations, to_cells
from sparseshift.screens.check import check_screen
from sparseshift.screens.columns import Columns
from sparseshift.training.history import HISTORY_COLUMNS

if TYPE_CHECKING:
    from anndata import AnnData

FORMAT = "linear_factors_1"  # a string, so that FittedModel.read refuses it by name
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FittedFactors:
    """A fitted decomposition and the names of what it was fitted to.

    Attributes:
        spec: what it is.
        factors: the decomposition.
        scale: standard deviation of each raw latent within a label, training cells, (latents,).
        origin: latents that effects start from: mean of the control cells, or of all cells where
            there is no control, in units of scale, (latents,).
        shifts: effects in units of scale, (perturbations, latents).
    """

    spec: FactorSpecification
    factors: LinearFactors
    scale: np.ndarray
    origin: np.ndarray
    shifts: np.ndarray

    @property
    def history(self) -> pd.DataFrame:
        """Empty, with the columns of a VAE's: there is nothing to follow."""
        return pd.DataFrame(columns=list(HISTORY_COLUMNS))

    def latents(self, adata: AnnData) -> np.ndarray:
        """Latents in units of their standard deviation within a label, (cells, latents) float32.

        Raises:
            ScreenError: genes of the model are missing, or cells have no counts in them.
        """
        return self._embed(self._cells(adata, with_labels=False)).astype(np.float32)

    def effects(self) -> pd.DataFrame:
        """Least-squares mean shift of each latent, (perturbations, latents).

        Relative to the control, or to the mean of all cells without one; in units of the standard
        deviation within a label, as those of the VAEs.
        """
        return self._table(self.shifts)

    def inclusion_probability(self) -> pd.DataFrame:
        """All 1, (perturbations, latents): nothing here is sparse."""
        return self._table(np.ones_like(self.shifts))

    def adapt(self, adata: AnnData) -> FittedFactors:
        """Places perturbations that were not trained, by least squares with all else frozen.

        What known perturbations shift in a combination is subtracted first.

        Args:
            adata: support cells, labelled in the same obs column.

        Raises:
            ScreenError: missing genes or columns, cells without counts.
        """
        labels = read_perturbations(adata, self.spec.columns)
        new = self.spec.design.unknown(sorted(set(labels.tolist())))
        if not new:
            return self
        design = self.spec.design.extend(new)
        cells = self._cells(adata, design=design)
        rows = cells.design.numpy().astype(np.float64)
        means, size = label_means(self._embed(cells) - self.origin, cells.label.numpy())
        n_known = len(self.shifts)
        shifts = least_squares_shifts(
            means - rows[:, :n_known] @ self.shifts, size, rows[:, n_known:]
        )
        spec = replace(self.spec, design=design, adapted=True)
        return replace(self, spec=spec, shifts=np.vstack([self.shifts, shifts]))

    def iwelbo(self, *_args: object, **_keywords: object) -> NoReturn:
        """Refused: there is no likelihood of counts."""
        self._refuse("iwelbo")

    def cell_iwelbo(self, *_args: object, **_keywords: object) -> NoReturn:
        """Refused: there is no likelihood of counts."""
        self._refuse("cell_iwelbo")

    def sample(self, *_args: object, **_keywords: object) -> NoReturn:
        """Refused: there is no likelihood of counts."""
        self._refuse("sample")

    def save(self, path: str | Path) -> None:
        """Writes model.json and weights.safetensors into a directory (made if needed)."""
        from safetensors.numpy import save_file

        arrays = {"scale": self.scale, "origin": self.origin, "shifts": self.shifts}
        arrays |= {k: v for k, v in self.factors._asdict().items() if v is not None}
        content = {"format": FORMAT, "specification": asdict(self.spec)}
        # safetensors writes the memory as it lies, whatever the order of its axes
        contiguous = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
        write_model(path, content, lambda file: save_file(contiguous, file))

    @classmethod
    def read(cls, path: str | Path) -> FittedFactors:
        """Reads what `save` wrote; see `sparseshift.load`."""
        from safetensors.numpy import load_file

        content = json.loads((Path(path) / "model.json").read_text(encoding="utf-8"))
        arrays = load_file(Path(path) / "weights.safetensors")
        own = {name: arrays.pop(name) for name in ("scale", "origin", "shifts")}
        spec = FactorSpecification.from_json(content["specification"])
        return cls(spec, LinearFactors(**arrays), **own)

    def _cells(
        self, adata: AnnData, *, design: Design | None = None, with_labels: bool = True
    ) -> Cells:
        spec = self.spec
        design = design or spec.design
        store, _ = to_cells(adata, spec.columns, spec.genes, design, (), with_labels=with_labels)
        return store.whole()

    def _embed(self, cells: Cells) -> np.ndarray:
        profiles = log_normalise(cells.counts.numpy(), self.spec.target_total)
        return self.factors.transform(profiles) / self.scale

    def _table(self, values: np.ndarray) -> pd.DataFrame:
        index = pd.Index(self.spec.design.perturbations, name="perturbation", dtype=object)
        columns = [f"z{j}" for j in range(self.spec.n_latents)]
        return pd.DataFrame(values.astype(np.float32), index=index, columns=columns)

    def _refuse(self, what: str) -> NoReturn:
        name = self.spec.preset
        raise OptionError(
            f"{name} has no likelihood of counts, so it has no {what}. It has latents(), effects() "
            "and adapt(); for likelihoods fit a VAE, for example 'vae'."
        )


def is_factors(path: str | Path) -> bool:
    """Whether a directory holds a decomposition that `FittedFactors.save` wrote."""
    file = Path(path) / "model.json"
    return file.is_file() and json.loads(file.read_text(encoding="utf-8")).get("format") == FORMAT


def refuse_options(preset: str, options: Mapping[str, object]) -> None:
    """Linear baselines have none.

    Raises:
        OptionError: if there are any.
    """
    if options:
        raise OptionError(
            f"{preset} has no options besides n_latents and seed; found {', '.join(options)}."
        )


def fit_factors(
    adata: AnnData,
    preset: str,
    columns: Columns,
    *,
    n_latents: int,
    seed: int,
    options: Mapping[str, object],
) -> FittedFactors:
    """Fits a decomposition to all cells of a screen; see `sparseshift.fit`.

    Raises:
        ScreenError: the screen has faults; the message lists all of them.
        OptionError: an unknown method, any option, or more latents than the profiles have.
    """
    refuse_options(preset, options)
    n_latents, seed = require_whole("n_latents", n_latents, 1), require_whole("seed", seed, 0)
    check_screen(adata, columns)
    if columns.batch is not None:
        logger.warning("%s does not model batches: obs[%r] is not used.", preset, columns.batch)
    labels = read_perturbations(adata, columns)
    design = Design.of_labels(labels.tolist(), columns.control, additive=True)
    genes = tuple(map(str, adata.var_names))
    store, names = to_cells(adata, columns, genes, design, ())
    cells = store.whole()
    counts, code = cells.counts.numpy(), cells.label.numpy()
    target_total = float(np.median(counts.sum(axis=1)))
    profiles = log_normalise(counts, target_total)
    logger.info("Fitting %s: %d cells, %d genes, %d latents", preset, *counts.shape, n_latents)
    factors = fit_linear_factors(preset, profiles, n_latents, seed)
    raw = factors.transform(profiles)
    scale = within_deviation(raw, code)
    means, size = label_means(raw / scale, code)
    is_start = np.array([columns.control in {None, name} for name in names])
    origin = np.average(means[is_start], axis=0, weights=size[is_start])
    shifts = least_squares_shifts(means - origin, size, cells.design.numpy().astype(np.float64))
    spec = FactorSpecification(
        preset=preset,
        columns=columns,
        design=design,
        trained=design.perturbations,
        genes=genes,
        n_latents=n_latents,
        seed=seed,
        target_total=target_total,
    )
    return FittedFactors(spec, factors, scale, origin, shifts)
