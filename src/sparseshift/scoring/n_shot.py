"""n-shot curves: how well held-out perturbations are scored after adapting to n of their cells."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from anndata import AnnData

from sparseshift.data.cell_store import CellStore
from sparseshift.data.nested_supports import SIZES, NestedSupports, nest_supports
from sparseshift.data.splits import Split
from sparseshift.errors import OptionError
from sparseshift.evaluation.intervals import (
    Interval,
    bootstrap_mean,
    hierarchical_bootstrap,
    macro_mean,
)
from sparseshift.evaluation.likelihood_under_priors import cell_iwelbo_under
from sparseshift.fitted_factors import FittedFactors
from sparseshift.fitted_model import FittedModel
from sparseshift.models.adaptation import adapted_prior
from sparseshift.models.priors import LatentPrior
from sparseshift.scoring.cells import Model
from sparseshift.scoring.settings import ScoreSettings
from sparseshift.scoring.tidy import RunKey
from sparseshift.screens.cells import read_perturbations, to_cells, with_counts
from sparseshift.screens.columns import Columns


@dataclass(frozen=True)
class NShotSettings:
    """Which supports are drawn.

    Attributes:
        sizes: support cells n of each perturbation.
        n_draws: nested supports drawn for each perturbation.
        min_query: query cells that a perturbation needs.
        gradient_draws: draws for models without a closed form, each of whose supports takes an adaptation
            by gradient and an I-NLL of its own; 0 leaves these models out.
        sparse: whether models with a learnt mask adapt sparsely (`FittedModel.adapt`).
    """

    sizes: tuple[int, ...] = SIZES
    n_draws: int = 10
    min_query: int = 20
    gradient_draws: int = 2
    sparse: bool = False

    @property
    def takes_fewer(self) -> bool:
        """Whether models without a closed form take only the first of the draws."""
        return 0 < self.gradient_draws < self.n_draws


def nested_supports(
    screen: AnnData,
    columns: Columns,
    split: Split,
    genes: Sequence[str],
    n_shot: NShotSettings,
    seed: int = 0,
) -> NestedSupports:
    """The supports and queries of a split, the same for all models and baselines.

    Cells without a count in the genes can be neither adapted to nor scored, and are left out.
    """
    counted = with_counts(screen[[*split.support, *split.query], list(genes)], columns)
    return nest_supports(
        counted.obs_names.tolist(),
        read_perturbations(counted, columns),
        split,
        sizes=n_shot.sizes,
        n_draws=n_shot.n_draws,
        min_query=n_shot.min_query,
        seed=seed,
    )


def why_no_curve(model: Model, n_shot: NShotSettings) -> str | None:
    """Why a model has no n-shot curve, in words; None: it has one."""
    if isinstance(model, FittedFactors):
        return "it has no likelihood of counts"
    if not model.adapts_in_closed_form and n_shot.gradient_draws == 0:
        return "it adapts by gradient and gradient_draws is 0"
    return None


def score_n_shot(
    model: Model,
    screen: AnnData,
    supports: NestedSupports,
    key: RunKey,
    settings: ScoreSettings,
    n_shot: NShotSettings,
) -> pd.DataFrame:
    """The I-NLL of a model after adapting to n cells of each held-out perturbation, as tidy rows.

    Rows of `curve` with the metric inll_macro_kK. All perturbations that have n support cells are adapted to
    together, as `adapt` does. A model that adapts nothing has the same value for every support.

    Args:
        model: before it is adapted.
        screen: all cells.
        supports: of `nested_supports` with the model's genes.
        key: of the rows.
        settings: particles, resamples, seed.
        n_shot: draws for models without a closed form.

    Raises:
        OptionError: the model is adapted already, perhaps to cells beyond the supports.
    """
    if not supports.query or isinstance(model, FittedFactors) or why_no_curve(model, n_shot):
        return key.rows([])
    if model.spec.adapted:
        raise OptionError(
            f"{key.model} is adapted already: what it learnt from other cells would count as n-shot. "
            "Give the model as it was trained."
        )
    if model.adapts_in_closed_form:
        bounds = _closed_form(model, screen, supports, settings, n_shot.sparse)
    else:
        n_draws = min(n_shot.gradient_draws, supports.n_draws)
        bounds = _one_by_one(model, screen, supports, settings, n_draws)
    metric = f"inll_macro_k{settings.n_particles}"
    return curve(-bounds, supports.query_labels, supports, key, settings, metric)


def curve(
    scores: np.ndarray,
    labels: np.ndarray,
    supports: NestedSupports,
    key: RunKey,
    settings: ScoreSettings,
    metric: str,
    *,
    higher_is_better: bool = False,
) -> pd.DataFrame:
    """Tidy rows of scores after adapting to nested supports, one subset a size.

    For each size n, in the subset n_shot_n, over the perturbations that have n support cells:

    - METRIC: mean over perturbations of the mean over what is scored of them (query cells, or one number) of the
      mean over draws, with an interval over perturbations and cells;
    - gain_METRIC: by how much the same perturbations did better than with the smallest size, paired cell by
      cell: what to read where perturbations drop out of the curve;
    - draw_sd_METRIC: standard deviation over draws of the mean over perturbations;
    - n_perturbations: how many there are.

    Args:
        scores: (sizes, draws, scored).
        labels: perturbation of each of the scored, (scored,).
        supports: they were computed with.
        key: of the rows.
        settings: resamples and seed.
        metric: name of the score.
        higher_is_better: else it is a loss.
    """
    rows: list[tuple[str, str, Interval]] = []
    sign = 1.0 if higher_is_better else -1.0
    for i, size in enumerate(supports.sizes):
        own = {label: scores[:, :, labels == label] for label in supports.possible(size)}
        subset = f"n_shot_{size}"
        means = {label: score[i].mean(0) for label, score in own.items()}
        rows.append((metric, subset, _macro(means, settings)))
        if i > 0:
            gains = {
                label: sign * (means[label] - score[0].mean(0)) for label, score in own.items()
            }
            rows.append((f"gain_{metric}", subset, _macro(gains, settings)))
        if scores.shape[1] > 1:
            by_draw = np.mean([score[i].mean(1) for score in own.values()], axis=0)
            rows.append((f"draw_sd_{metric}", subset, _number(by_draw.std(ddof=1))))
        rows.append(("n_perturbations", subset, _number(len(own))))
    return key.rows(rows)


def _macro(groups: dict[str, np.ndarray], settings: ScoreSettings) -> Interval:
    resample = {"n_resamples": settings.n_resamples, "seed": settings.seed}
    if all(len(values) == 1 for values in groups.values()):  # nothing to resample within
        numbers = [groups[name][0] for name in sorted(groups)]
        return bootstrap_mean(np.array(numbers), **resample)
    return hierarchical_bootstrap(groups, macro_mean, **resample)


def _number(value: float) -> Interval:
    return Interval(float(value), np.nan, np.nan)


def _closed_form(
    model: FittedModel,
    screen: AnnData,
    supports: NestedSupports,
    settings: ScoreSettings,
    sparse: bool,
) -> np.ndarray:
    """Bounds, (sizes, draws, cells): support cells encoded once, query cells decoded once."""
    spec, prior = model.spec, model.module.prior
    new = spec.design.unknown(supports.query)
    n_known, design = len(spec.design.perturbations), spec.design.extend(new)

    def cells_of(names: np.ndarray) -> CellStore:
        cells, _ = to_cells(screen[names], spec.columns, spec.genes, design, spec.batches)
        return cells.streamed_to(model.module.device)

    names = supports.support_cells
    support, place = cells_of(names), {name: i for i, name in enumerate(names.tolist())}
    means = torch.from_numpy(model.latents(screen[names], refine=0)).to(support.device)

    def adapted(size: int, draw: int) -> LatentPrior:
        index = torch.tensor([place[name] for name in supports.support(size, draw).tolist()])
        index = index.to(support.device)
        return adapted_prior(prior, means[index], support.subset(index), n_known, sparse=sparse)

    # a combination of trained parts needs no adapting
    pairs = [(size, draw) for size in supports.sizes for draw in range(supports.n_draws)]
    bounds = cell_iwelbo_under(
        model.module,
        cells_of(supports.query_cells),
        [adapted(*pair) if new else prior for pair in pairs],
        settings.n_particles,
        settings.seed,
    )
    return bounds.view(len(supports.sizes), supports.n_draws, -1).cpu().numpy()


def _one_by_one(
    model: FittedModel,
    screen: AnnData,
    supports: NestedSupports,
    settings: ScoreSettings,
    n_draws: int,
) -> np.ndarray:
    """Bounds, (sizes, draws, cells), an adapted model each; NaN where a size is impossible."""
    cells, labels = supports.query_cells, supports.query_labels
    bounds = np.full((len(supports.sizes), n_draws, len(cells)), np.nan)
    for i, size in enumerate(supports.sizes):
        possible = np.isin(labels, supports.possible(size))
        query = screen[cells[possible]]
        for draw in range(n_draws):
            adapted = model.adapt(screen[supports.support(size, draw)])
            bounds[i, draw, possible] = adapted.cell_iwelbo(
                query, settings.n_particles, seed=settings.seed
            )
    return bounds
