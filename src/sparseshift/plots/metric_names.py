"""What each metric is called in words, in which unit, and which direction is better."""

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class MetricName:
    """A metric in words.

    Attributes:
        words: what is measured.
        unit: of the value; "" where it has none.
        better: "lower", "higher", or "" where neither is.
    """

    words: str
    unit: str = ""
    better: str = ""

    @property
    def axis(self) -> str:
        """Label of an axis: unit and an arrow towards the better end."""
        towards = {"lower": "← lower is better", "higher": "higher is better →", "": ""}
        return "   ".join(part for part in (self.unit, towards[self.better]) if part)

    @property
    def heading(self) -> str:
        """Heading of a table's column: words, unit, direction."""
        direction = f"{self.better} is better" if self.better else ""
        brackets = "; ".join(part for part in (self.unit, direction) if part)
        return f"{self.words} ({brackets})" if brackets else self.words


# In the order in which tables and figures show them: transfer first, then truth, then training.
_KNOWN = {
    "inll_macro": MetricName("I-NLL, mean of perturbations", "nats a cell", "lower"),
    "inll_micro": MetricName("I-NLL, mean of cells", "nats a cell", "lower"),
    "paper_inll_macro": MetricName(
        "as published: I-NLL, cells adapted to", "nats a cell", "lower"
    ),
    "nll_macro": MetricName(
        "negative log likelihood, mean of perturbations", "nats a cell", "lower"
    ),
    "nll_micro": MetricName("negative log likelihood, mean of cells", "nats a cell", "lower"),
    "ate_pearson_r": MetricName(
        "predicted against observed effects", "Pearson r over genes", "higher"
    ),
    "ate_rmse": MetricName(
        "error of predicted effects", "root mean square over genes, log(1 + counts)", "lower"
    ),
    "ate_mae": MetricName(
        "error of predicted effects", "mean absolute over genes, log(1 + counts)", "lower"
    ),
    "ate_pearson_r_no_targets": MetricName(
        "effects without the targets", "Pearson r over genes", "higher"
    ),
    "ate_pearson_r_top20": MetricName(
        "effects on the 20 genes that move most", "Pearson r", "higher"
    ),
    "ate_pearson_r_top50": MetricName(
        "effects on the 50 genes that move most", "Pearson r", "higher"
    ),
    "ate_delta_r": MetricName("effects less the mean effect", "Pearson r over genes", "higher"),
    "discrimination": MetricName("told from the other perturbations", "chance 1/2", "higher"),
    "centroid_accuracy": MetricName("told from all perturbations", "chance 1/2", "higher"),
    "de_overlap_50": MetricName("genes that differ, among those predicted", "share", "higher"),
    "de_direction": MetricName("direction of genes that differ", "share", "higher"),
    "energy_distance": MetricName(
        "energy distance of predicted cells", "log(1 + counts)", "lower"
    ),
    "zero_shot_pearson_r": MetricName(
        "combinations, none of their cells seen", "Pearson r over genes", "higher"
    ),
    "zero_shot_delta_r": MetricName(
        "the same less the mean effect", "Pearson r over genes", "higher"
    ),
    "zero_shot_rmse": MetricName(
        "combinations, none of their cells seen",
        "root mean square error, log(1 + counts)",
        "lower",
    ),
    "mcc": MetricName("matched latents", "mean |r|", "higher"),
    "mcc_pearson": MetricName("matched latents", "mean |Pearson r|", "higher"),
    "mcc_spearman": MetricName("matched latents", "mean |Spearman r|", "higher"),
    "r2": MetricName("latents explained", "R²", "higher"),
    "r_con": MetricName("latents up to what their graph leaves open", "R_con", "higher"),
    "latent_correlation": MetricName("one latent and its match", "|Pearson r|", "higher"),
    "graph_precision": MetricName("edges found that are true", "precision", "higher"),
    "graph_recall": MetricName("true edges that are found", "recall", "higher"),
    "graph_f1": MetricName("edges", "F1", "higher"),
    "graph_auprc": MetricName("edges", "area under precision-recall", "higher"),
    "graph_shd": MetricName("edges wrong or missing", "count", "lower"),
    "paper_graph_precision": MetricName("as published: edges found", "precision", "higher"),
    "paper_graph_recall": MetricName("as published: true edges", "recall", "higher"),
    "paper_graph_f1": MetricName("as published: edges", "F1", "higher"),
    "validation_negative_elbo": MetricName(
        "validation negative ELBO, mean of cells", "nats a cell", "lower"
    ),
    "validation_negative_elbo_macro": MetricName(
        "validation negative ELBO, mean of perturbations", "nats a cell", "lower"
    ),
    "n_edges": MetricName("edges", "count"),
    "udr": MetricName("agreement of seeds", "UDR", "higher"),
    "latent_agreement": MetricName("agreement of seeds", "mean |Pearson r|", "higher"),
    "edge_stability": MetricName("edges that seeds share", "Jaccard index", "higher"),
    "cpu_seconds": MetricName("training", "CPU seconds", "lower"),
    "edges_converged": MetricName("number of edges at rest", "1 yes, 0 no", "higher"),
}


def metric_name(metric: str) -> MetricName:
    """A metric in words.

    A trailing `_k100` is the number of particles, `_minus_vae` a difference. Names not known here lose their underscores, and
    no direction is better.
    """
    if found := re.fullmatch(r"(.+)_k(\d+)", metric):
        stem = metric_name(found[1])
        return MetricName(f"{stem.words}, {found[2]} particles", stem.unit, stem.better)
    if found := re.fullmatch(r"(.+)_minus_(vae|best_baseline)", metric):
        stem = metric_name({"inll": "inll_macro"}.get(found[1], found[1]))
        return MetricName(
            f"{stem.words}, less {found[2].replace('_', ' ')}", stem.unit, stem.better
        )
    if metric.endswith("_untrained"):
        stem = metric_name(metric.removesuffix("_untrained"))
        return MetricName(f"{stem.words}, with a gene never trained", stem.unit, stem.better)
    return _KNOWN.get(metric) or MetricName(metric.replace("_", " "))


def ordered_metrics(metrics: Iterable[str]) -> list[str]:
    """Each metric once: transfer, truth, training, then names not known here as they came."""
    place = {name: i for i, name in enumerate(_KNOWN)}
    return sorted(
        dict.fromkeys(metrics),
        key=lambda metric: place.get(
            re.sub(r"(_untrained)?(_minus_\w+?)?(_k\d+)?$", "", metric), len(place)
        ),
    )
