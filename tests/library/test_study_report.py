"""What the page of a study says."""

import numpy as np
import pandas as pd

from sparseshift.scoring import summarise_study
from sparseshift.study_report import write_study_page


def _page(n_data: int, *, f1: float = 0.8) -> str:
    rows = [
        {"condition": "<paper>", "data_seed": d, "model": model, "seed": 0, "metric": metric}
        | {"subset": "trained", "value": value + 0.01 * d * (value > 0.0)}
        for d in range(n_data)
        for model, metric, value in (
            ("vae", "mcc_pearson", 0.4),
            ("svae_plus", "mcc_pearson", 0.9),
            ("svae_plus", "graph_f1", f1),
            ("svae_plus", "latent_correlation", 0.123),
        )
    ]
    metrics = pd.DataFrame(rows)
    summary = summarise_study(metrics).assign(published=np.nan, published_sd=np.nan)
    summary.loc[summary["model"] == "vae", "published"] = 0.46
    return write_study_page(metrics, summary, {}, ["<paper>"])


def test_the_best_are_named_and_the_published_numbers_beside() -> None:
    page = _page(2)
    assert "2 data seeds a condition (exploratory: claims need 5 or more)" in page
    assert "latents are recovered best by svae_plus (mean |Pearson r| 0.905)" in page
    assert "edges are recovered best by svae_plus (F1 0.805)" in page
    assert "0.46" in page
    assert "&lt;paper&gt;" in page
    assert "<paper>" not in page
    assert "0.123" not in page


def test_five_data_seeds_are_not_exploratory() -> None:
    assert "exploratory" not in _page(5)
    assert "1 data seed a condition (exploratory" in _page(1)


def test_nobody_is_best_where_nothing_is_recovered() -> None:
    page = _page(2, f1=0.0)
    assert "no edges are recovered by any model" in page
    assert "edges are recovered best" not in page
