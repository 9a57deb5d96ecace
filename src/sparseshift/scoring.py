"""Models and baselines against cells they did not see, as tidy tables.

The tidy table of metrics has a row a number: screen, model, split, seed, metric, subset, value,
lower, upper. Metrics are defined in docs/metrics.md.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from sparseshift.data.design import parts
from sparseshift.data.splits import Split
from sparseshift.errors import ScreenError
from sparseshift.evaluation.average_effects import (
    effect_variances,
    log_normalise,
    mean_profile,
    pearson_r,
    sampling_variance,
)
from sparseshift.evaluation.intervals import (
    Interval,
    bootstrap_mean,
    hierarchical_bootstrap,
    macro_mean,
    micro_mean,
)
from sparseshift.evaluation.shared_mechanism import shared_mechanism
from sparseshift.fitted_model import FittedModel
from sparseshift.models.baselines import additive_effect, mean_effect, shrunk_effect
from sparseshift.screens.cells import dense_counts, read_perturbations, with_counts
from sparseshift.screens.columns import Columns

HEADLINE = ("inll_macro", "inll_micro", "ate_pearson_r", "validation_negative_elbo_macro")
METRIC_COLUMNS = [
    "screen",
    "model",
    "split",
    "seed",
    "metric",
    "subset",
    "value",
    "lower",
    "upper",
]
QUERY = "held_out_query"


@dataclass(frozen=True)
class ScoreSettings:
    """How to score.

    Attributes:
        n_particles: of the IWELBO.
        n_draws: cells sampled for each query or control cell when effects are predicted.
        n_resamples: of every bootstrap.
        seed: of draws and resamples.
    """

    n_particles: int = 100
    n_draws: int = 10
    n_resamples: int = 1000
    seed: int = 0


@dataclass(frozen=True)
class RunKey:
    """What the rows of a metrics table are about."""

    screen: str
    model: str
    split: str
    seed: int | None

    def rows(self, values: list[tuple[str, str, Interval]]) -> pd.DataFrame:
        """Tidy rows from (metric, subset, interval)."""
        frame = pd.DataFrame(
            [
                (self.screen, self.model, self.split, self.seed, metric, subset, *interval)
                for metric, subset, interval in values
            ],
            columns=METRIC_COLUMNS,
        )
        return frame.astype({"seed": "Int64"})


def headline(metrics: pd.DataFrame) -> pd.DataFrame:
    """The rows of a tidy table that compare models on held-out perturbations or cells."""
    compares = metrics["metric"].str.startswith(HEADLINE)
    n_models = metrics.groupby(["metric", "split"])["model"].transform("nunique")
    return metrics[compares & (n_models > 1)]


def score_training(model: FittedModel, key: RunKey) -> pd.DataFrame:
    """Validation ELBO of the kept weights and number of trained edges, as tidy rows."""
    best = model.records.best_record
    trained = model.inclusion_probability().loc[list(model.spec.trained)]
    value = [
        ("validation_negative_elbo", "validation_cells", best.validation_negative_elbo),
        (
            "validation_negative_elbo_macro",
            "validation_cells",
            best.validation_negative_elbo_macro,
        ),
        ("n_edges", "trained", float((trained > 0.5).to_numpy().sum())),
    ]
    return key.rows([(metric, subset, Interval(v, np.nan, np.nan)) for metric, subset, v in value])


def score_cells(
    model: FittedModel, screen: AnnData, split: Split, settings: ScoreSettings
) -> pd.DataFrame:
    """The log-likelihood bound of every query cell: columns cell, perturbation, iwelbo (nats).

    Args:
        model: adapted to the split's support cells.
        screen: all cells.
        split: whose query cells to score; without any, the table is empty.
        settings: how to score.
    """
    if not split.query:
        return pd.DataFrame({"cell": [], "perturbation": [], "iwelbo": []})
    query = with_model_counts(screen[list(split.query)], model)
    bound = model.cell_iwelbo(query, settings.n_particles, seed=settings.seed)
    labels = read_perturbations(query, model.spec.columns)
    return pd.DataFrame(
        {"cell": list(query.obs_names), "perturbation": labels, "iwelbo": bound.to_numpy()}
    )


def score_query(
    model: FittedModel,
    cells: pd.DataFrame,
    screen: AnnData,
    split: Split,
    key: RunKey,
    settings: ScoreSettings,
) -> pd.DataFrame:
    """An adapted model on held-out perturbations, as tidy rows; none where nothing is held out.

    Args:
        model: adapted to the split's support cells.
        cells: of `score_cells`.
        screen: all cells.
        split: whose query and control cells to use.
        key: of the rows.
        settings: how to score.
    """
    if cells.empty:
        return key.rows([])
    groups = {str(name): -g.to_numpy() for name, g in cells.groupby("perturbation")["iwelbo"]}
    resample = {"n_resamples": settings.n_resamples, "seed": settings.seed}
    k = settings.n_particles
    values = [
        (f"inll_macro_k{k}", QUERY, hierarchical_bootstrap(groups, macro_mean, **resample)),
        (f"inll_micro_k{k}", QUERY, hierarchical_bootstrap(groups, micro_mean, **resample)),
    ]
    if split.control_a:
        observed = ObservedEffects(screen, model.spec.columns, split, model.spec.genes)
        predicted = predicted_effects(model, screen, split, observed.target_total, settings)
        values.append(("ate_pearson_r", QUERY, observed.score(predicted, settings)))
    return key.rows(values)


def with_model_counts(screen: AnnData, model: FittedModel) -> AnnData:
    """The cells that have a count in the model's genes; the others cannot be scored or embedded."""
    return with_counts(screen[:, list(model.spec.genes)], model.spec.columns)


class ObservedEffects:
    """Effects on mean expression of a split's held-out perturbations, from query cells.

    Profiles are log-normalised to the median total of the training control cells. Observations
    start from control half B, predictions from half A.
    """

    def __init__(
        self, screen: AnnData, columns: Columns, split: Split, genes: tuple[str, ...]
    ) -> None:
        self.labels = read_perturbations(screen, columns)
        self.counts = dense_counts(screen, columns.layer, genes)
        self.position = pd.Series(np.arange(screen.n_obs), index=screen.obs_names)
        self.split = split
        controls = self.rows(split.control_a + split.control_b)
        self.target_total = float(np.median(self.counts[controls].sum(1)))
        reference = self.profile(self.rows(split.control_b))
        query = self.rows(split.query)
        self.effects = {
            label: self.profile(query[self.labels[query] == label]) - reference
            for label in split.held_out
        }

    def rows(self, cells: tuple[str, ...]) -> np.ndarray:
        """Row numbers of cells by name; those without a count in these genes are left out."""
        rows = self.position.loc[list(cells)].to_numpy()
        return rows[self.counts[rows].sum(1) > 0]

    def profile(self, rows: np.ndarray) -> np.ndarray:
        """Mean log-normalised profile of some cells, (genes,)."""
        return mean_profile(self.counts[rows], self.target_total)

    def score(self, predicted: dict[str, np.ndarray], settings: ScoreSettings) -> Interval:
        """Mean over held-out perturbations of the correlation of effects over genes."""
        r = [pearson_r(predicted[label], self.effects[label]) for label in sorted(self.effects)]
        return bootstrap_mean(np.array(r), n_resamples=settings.n_resamples, seed=settings.seed)


def predicted_effects(
    model: FittedModel, screen: AnnData, split: Split, target_total: float, settings: ScoreSettings
) -> dict[str, np.ndarray]:
    """A model's effects of held-out perturbations, (genes,) each, from sampled cells.

    Perturbed cells have the totals and batches of the query cells, control cells those of control
    half A, so that depth differs in the prediction as it does in the observation.
    """
    columns = model.spec.columns
    query = with_model_counts(screen[list(split.query)], model)
    labels = read_perturbations(query, columns)
    control_a = with_model_counts(screen[list(split.control_a)], model)
    control = _sampled_profile(model, control_a, target_total, settings)
    return {
        label: _sampled_profile(model, query[labels == label], target_total, settings) - control
        for label in split.held_out
    }


def _sampled_profile(
    model: FittedModel, cells: AnnData, target_total: float, settings: ScoreSettings
) -> np.ndarray:
    draws = [
        mean_profile(model.sample(cells, seed=settings.seed + i), target_total)
        for i in range(settings.n_draws)
    ]
    return np.mean(draws, axis=0)


def score_baselines(
    screen: AnnData,
    columns: Columns,
    split: Split,
    genes: tuple[str, ...],
    name: str,
    settings: ScoreSettings,
) -> pd.DataFrame:
    """The predictors every model must beat, on the same query cells, as tidy rows.

    mean_effect: control mean + mean effect of the training perturbations. additive: the sum of the
    parts' effects for a combination whose parts were all trained alone, else mean_effect.
    support_mean: the effect in the support cells, which models adapt to. support_mean_shrunk: the
    same, shrunk to the mean effect by empirical Bayes.

    Args:
        screen: all cells.
        columns: of the screen.
        split: held-out perturbations, support, query, control halves.
        genes: that models see.
        name: of the screen.
        settings: how to score.
    """
    if not split.query or not split.control_a:
        return RunKey(name, "mean_effect", split.name, None).rows([])
    observed = ObservedEffects(screen, columns, split, genes)
    return pd.concat(
        [
            RunKey(name, model, split.name, None).rows(
                [("ate_pearson_r", QUERY, observed.score(effects, settings))]
            )
            for model, effects in baseline_effects(observed, columns.control).items()
        ],
        ignore_index=True,
    )


def baseline_effects(
    observed: ObservedEffects, control: str | None
) -> dict[str, dict[str, np.ndarray]]:
    """For each baseline the predicted effect of each held-out perturbation, (genes,)."""
    split, labels = observed.split, observed.labels
    profiles = log_normalise(observed.counts, observed.target_total)
    reference = observed.rows(split.control_a)
    control_mean = profiles[reference].mean(0)
    trained = sorted(set(labels[split.is_training(labels)].tolist()) - {control})
    cells = {label: profiles[labels == label] for label in trained}
    effects = {label: cells[label].mean(0) - control_mean for label in trained}
    average, between = mean_effect(effects), effect_variances(cells, effects)
    support = observed.rows(split.support)
    predictions: dict[str, dict[str, np.ndarray]] = {
        name: {} for name in ("mean_effect", "additive", "support_mean", "support_mean_shrunk")
    }
    for label in split.held_out:
        own = profiles[support[labels[support] == label]]
        seen = own.mean(0) - control_mean
        noise = sampling_variance(own) + sampling_variance(profiles[reference])
        added = additive_effect(parts(label), effects)
        predictions["mean_effect"][label] = average
        predictions["additive"][label] = average if added is None else added
        predictions["support_mean"][label] = seen
        predictions["support_mean_shrunk"][label] = shrunk_effect(seen, average, between, noise)
    return predictions


def with_latents(screen: AnnData, latents: dict[str, pd.DataFrame]) -> AnnData:
    """A copy of the screen with the latents of fits in obsm, NaN for cells without counts.

    Args:
        screen: all cells.
        latents: name of the obsm entry to (cells, latents).
    """
    embedded = screen.copy()
    for name, table in latents.items():
        embedded.obsm[name] = table.reindex(screen.obs_names).to_numpy(dtype=np.float32)
    return embedded


RAW_EFFECTS = "raw_effects"


def compare_mechanism(
    shifts: dict[RunKey, pd.DataFrame], members: list[str], n_bins: int = 40
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Whether some perturbations share latents, for each fit and for the raw mean effects.

    Args:
        shifts: for each fit (or for the raw effects) its (perturbations, dimensions) table.
        members: the perturbations asked about.
        n_bins: of the histogram over all sets.

    Returns:
        Tidy metrics (shared_mechanism_cosine; shared_mechanism_quantile, the share of all sets of as
        many perturbations that are at least as alike), and {"genes": members, "models": {name:
        {"cosine", "quantile", "n_sets", "histogram"}}} for the figure.

    Raises:
        ScreenError: a member is not a row of every table.
    """
    for key, table in shifts.items():
        if missing := sorted(set(members) - set(table.index)):
            raise ScreenError(
                f"shared_mechanism: {key.model} has no row for {', '.join(missing)}. "
                f"It has {', '.join(map(str, table.index[:10]))} ..."
            )
    edges = np.linspace(-1.0, 1.0, n_bins + 1)
    models: dict[str, Any] = {}
    frames = []
    subset = " ".join(members)
    for key, table in shifts.items():
        index = table.index.get_indexer(pd.Index(members)).tolist()
        cosine, quantile, every = shared_mechanism(table.to_numpy(dtype=float), index)
        counts, _ = np.histogram(np.clip(every, -1.0, 1.0), edges)
        found = {"shared_mechanism_cosine": cosine, "shared_mechanism_quantile": quantile}
        frames.append(
            key.rows([(name, subset, Interval(v, np.nan, np.nan)) for name, v in found.items()])
        )
        models[key.model if key.seed is None else f"{key.model} (seed {key.seed})"] = {
            "cosine": cosine,
            "quantile": quantile,
            "n_sets": len(every),
            "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
        }
    return pd.concat(frames, ignore_index=True), {"genes": list(members), "models": models}


def raw_effects(screen: AnnData, columns: Columns, genes: tuple[str, ...]) -> pd.DataFrame:
    """Effects on the mean log-normalised profile of every perturbation, (perturbations, genes)."""
    labels = read_perturbations(screen, columns)
    counts = dense_counts(screen, columns.layer, genes)
    is_control = labels == columns.control
    start = is_control if is_control.any() else np.ones(len(labels), dtype=bool)
    total = float(np.median(counts[start].sum(1)))
    profiles = log_normalise(counts, total)
    names = sorted(set(labels.tolist()) - {columns.control})
    effects = [profiles[labels == name].mean(0) - profiles[start].mean(0) for name in names]
    return pd.DataFrame(effects, index=pd.Index(names, name="perturbation"), columns=list(genes))
