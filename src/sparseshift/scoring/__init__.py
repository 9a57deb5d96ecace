"""Models and baselines against cells they did not see, as tidy tables (docs/metrics.md)."""

from sparseshift.scoring.baselines import score_baseline_predictions, score_baselines
from sparseshift.scoring.ceilings import rescale_predictions
from sparseshift.scoring.cell_eval import cell_eval_files
from sparseshift.scoring.cells import score_cells, with_latents, with_model_counts
from sparseshift.scoring.choice import choose
from sparseshift.scoring.compare import CROSS_FIT, compare_fits, join_folds
from sparseshift.scoring.differences import effect_differences, likelihood_differences
from sparseshift.scoring.effects import ObservedEffects, raw_effects
from sparseshift.scoring.fits import score_model_predictions, score_query, score_training
from sparseshift.scoring.mechanism import RAW_EFFECTS, compare_mechanism
from sparseshift.scoring.n_shot import NShotSettings, nested_supports, score_n_shot, why_no_curve
from sparseshift.scoring.n_shot_differences import n_shot_differences
from sparseshift.scoring.n_shot_effects import score_n_shot_baselines, score_n_shot_effects
from sparseshift.scoring.nb_scores import fit_nb, score_nb_cells, score_nb_n_shot, score_nb_query
from sparseshift.scoring.paper_protocol import score_as_paper
from sparseshift.scoring.particle_convergence import particle_convergence
from sparseshift.scoring.prediction_scores import (
    METRICS,
    UNTRAINED,
    ZERO_SHOT,
    PredictionTask,
    summarise_scores,
)
from sparseshift.scoring.predictions import predict_profiles
from sparseshift.scoring.recovery import score_recovery
from sparseshift.scoring.refits import n_edges, refit_of, score_null_refits
from sparseshift.scoring.settings import ScoreSettings
from sparseshift.scoring.simple_predictors import BASELINES, baseline_effects
from sparseshift.scoring.study import (
    beside_published,
    compare_graphs,
    score_simulated_fit,
    score_stability,
    summarise_study,
)
from sparseshift.scoring.tidy import (
    HEADLINE,
    METRIC_COLUMNS,
    QUERY,
    RunKey,
    headline,
    is_by_kind,
    is_headline,
)

__all__ = [
    "BASELINES",
    "CROSS_FIT",
    "HEADLINE",
    "METRICS",
    "METRIC_COLUMNS",
    "QUERY",
    "RAW_EFFECTS",
    "UNTRAINED",
    "ZERO_SHOT",
    "NShotSettings",
    "ObservedEffects",
    "PredictionTask",
    "RunKey",
    "ScoreSettings",
    "baseline_effects",
    "beside_published",
    "cell_eval_files",
    "choose",
    "compare_fits",
    "compare_graphs",
    "compare_mechanism",
    "effect_differences",
    "fit_nb",
    "headline",
    "is_by_kind",
    "is_headline",
    "join_folds",
    "likelihood_differences",
    "n_edges",
    "n_shot_differences",
    "nested_supports",
    "particle_convergence",
    "predict_profiles",
    "raw_effects",
    "refit_of",
    "rescale_predictions",
    "score_as_paper",
    "score_baseline_predictions",
    "score_baselines",
    "score_cells",
    "score_model_predictions",
    "score_n_shot",
    "score_n_shot_baselines",
    "score_n_shot_effects",
    "score_nb_cells",
    "score_nb_n_shot",
    "score_nb_query",
    "score_null_refits",
    "score_query",
    "score_recovery",
    "score_simulated_fit",
    "score_stability",
    "score_training",
    "summarise_scores",
    "summarise_study",
    "why_no_curve",
    "with_latents",
    "with_model_counts",
]
