"""Choosing a model without knowing the truth, and how far the chosen one is from the best."""

import pandas as pd

CRITERIA = {  # metric: whether more is better
    "validation_negative_elbo_macro": False,
    "udr": True,
    "edge_stability": True,
}
TRUTH = ("mcc_pearson", "graph_f1")


def choose(metrics: pd.DataFrame, among: list[str]) -> pd.DataFrame:
    """For each screen and criterion the model that would be chosen, and what it recovers.

    Criteria need no truth: validation negative ELBO, UDR (Duan et al. 2020), edge stability. Seeds of a
    model are averaged first; of equal values the first model in `among` is taken.

    Args:
        metrics: tidy, with condition, data_seed, model, seed, metric, subset, value.
        among: the models, which differ in a setting such as the number of latents.

    Returns:
        condition, data_seed, criterion, chosen; and for each of MCC and F1 its value and `_shortfall`, how
        much the best of all falls above it. A criterion that no model has gives no row.
    """
    own = metrics[
        metrics["model"].isin(among) & metrics["subset"].isin(["trained", "validation_cells"])
    ]
    means = own.groupby(["condition", "data_seed", "model", "metric"])["value"].mean().unstack()
    rows = []
    for (condition, data_seed), screen in means.groupby(["condition", "data_seed"], sort=False):
        models = screen.droplevel(["condition", "data_seed"]).reindex(among)
        for criterion, higher in CRITERIA.items():
            if criterion not in models or models[criterion].isna().all():
                continue
            values = models[criterion]
            chosen = values.idxmax() if higher else values.idxmin()
            row = {
                "condition": condition,
                "data_seed": data_seed,
                "criterion": criterion,
                "chosen": chosen,
            }
            for truth in TRUTH:
                if truth in models:
                    row[truth] = models.loc[chosen, truth]
                    row[f"{truth}_shortfall"] = models[truth].max() - row[truth]
            rows.append(row)
    return pd.DataFrame(rows)
