"""Models and baselines against cells they did not see, as tidy tables (docs/metrics.md)."""

from sparseshift.scoring.baselines import baseline_effects, score_baselines
from sparseshift.scoring.cells import score_cells, with_latents, with_model_counts
from sparseshift.scoring.choice import choose
from sparseshift.scoring.effects import ObservedEffects, predicted_effects, raw_effects
from sparseshift.scoring.fits import QUERY, score_query, score_training
from sparseshift.scoring.mechanism import RAW_EFFECTS, compare_mechanism
from sparseshift.scoring.recovery import score_recovery
from sparseshift.scoring.settings import ScoreSettings
from sparseshift.scoring.study import (
    beside_published,
    compare_graphs,
    score_simulated_fit,
    score_stability,
    summarise_study,
)
from sparseshift.scoring.tidy import HEADLINE, METRIC_COLUMNS, RunKey, headline

__all__ = [
    "HEADLINE",
    "METRIC_COLUMNS",
    "QUERY",
    "RAW_EFFECTS",
    "ObservedEffects",
    "RunKey",
    "ScoreSettings",
    "baseline_effects",
    "beside_published",
    "choose",
    "compare_graphs",
    "compare_mechanism",
    "headline",
    "predicted_effects",
    "raw_effects",
    "score_baselines",
    "score_cells",
    "score_query",
    "score_recovery",
    "score_simulated_fit",
    "score_stability",
    "score_training",
    "summarise_study",
    "with_latents",
    "with_model_counts",
]
