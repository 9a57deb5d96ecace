"""The edges that come back in most refits: how often each does, and which way it goes."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparseshift.plots.effect_matrix import ordered_rows
from sparseshift.plots.style import DIVERGING, INK, MUTED, label, message_figure, new_figure

MAX_ROWS = 60


def stable_graph(edges: pd.DataFrame, latents: pd.DataFrame) -> Figure:
    """Draw the frequency of edges over refits, perturbations x latents.

    The colour is the share of refits that have the edge, red where the perturbation raises the latent,
    blue where it lowers it. A dot is a stable edge, a ring one whose sign is not the same in all refits
    that have it. Latents are ordered by their agreement between refits, which stands below them: the
    best is on the left. Perturbations without a stable edge are left out; of more than 60 with one those
    with the most frequent stable edges are shown, which the axis says. Rows are clustered.

    Args:
        edges: a row an entry, with perturbation, latent, frequency, effect, sign_agreement, stable
            (`StableGraph.to_frame`).
        latents: a row a latent, with latent, agreement (`StableGraph.latents`).
    """
    if not edges["stable"].any():
        n_all = edges["perturbation"].nunique()
        return message_figure(f"No edge of {n_all} perturbations is stable.")
    names = latents.sort_values("agreement", ascending=False, kind="stable")["latent"].tolist()
    frequency, effect, agreement, stable = (
        edges.pivot(index="perturbation", columns="latent", values=column)[names]
        for column in ("frequency", "effect", "sign_agreement", "stable")
    )
    stable = stable.astype(bool)
    signed = frequency.where(effect > 0, -frequency)
    shown = _chosen(frequency, stable)
    rows = shown[ordered_rows(signed.loc[shown].where(stable.loc[shown], 0.0).to_numpy())]
    cell = 0.17 if len(rows) > 40 else 0.24
    height = max(cell * len(rows), 0.6)
    figure = new_figure(height + 2.1)
    scale, axes = figure.subplots(2, 1, height_ratios=[0.14, height])
    image = axes.imshow(signed.loc[rows], cmap=DIVERGING, vmin=-1, vmax=1, aspect="auto")
    _draw_edges(axes, stable.loc[rows].to_numpy(), agreement.loc[rows].to_numpy(dtype=float))
    _label_rows(axes, rows.tolist())
    _label_latents(axes, names, latents.set_index("latent")["agreement"], stable.any().to_numpy())
    sentence = _shown(len(rows), int(stable.any(axis=1).sum()), len(frequency))
    axes.set_xlabel(f"latent (black: has a stable edge), mean |r| between refits\n{sentence}")
    bar = figure.colorbar(image, cax=scale, orientation="horizontal")
    bar.set_ticks([-1, -0.5, 0, 0.5, 1], labels=["100 %", "50 %", "0", "50 %", "100 %"])
    bar.set_label(
        "share of refits with the edge: lowers (blue), raises (red)\ndot: stable; ring: stable, its sign is not"
    )
    scale.xaxis.set_ticks_position("top")
    scale.xaxis.set_label_position("top")
    return figure


def _chosen(frequency: pd.DataFrame, stable: pd.DataFrame) -> pd.Index:
    weight = frequency.where(stable, 0.0).sum(axis=1)
    with_edge = weight[stable.any(axis=1)]
    return with_edge.sort_values(ascending=False, kind="stable").index[:MAX_ROWS].sort_values()


def _draw_edges(axes: Axes, stable: np.ndarray, agreement: np.ndarray) -> None:
    mixed = stable & (agreement < 1.0)
    for where, face in ((stable & ~mixed, "white"), (mixed, "none")):
        row, column = np.nonzero(where)
        axes.scatter(column, row, s=14, facecolors=face, edgecolors="white", linewidths=1.0)


def _shown(n_shown: int, n_stable: int, n_all: int) -> str:
    """Which perturbations are drawn, in words."""
    if n_shown < n_stable:
        return f"{n_shown} of {n_all} perturbations: {n_stable - n_shown} more have a stable edge"
    if n_stable < n_all:
        return f"{n_stable} of {n_all} perturbations: the others have no stable edge"
    return f"all {n_all} perturbations"


def _label_rows(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), [label(name) for name in names], fontsize=9)
    axes.tick_params(length=0)
    axes.set_ylabel("perturbation")
    axes.set_yticks(np.arange(1, len(names)) - 0.5, minor=True)
    axes.grid(which="minor", axis="y", color="#eeeeee", linewidth=0.6)
    axes.tick_params(which="minor", length=0)


def _label_latents(
    axes: Axes, names: list[str], agreement: pd.Series, has_edge: np.ndarray
) -> None:
    short = [label(name, 14) for name in names]
    upright = sum(max(len(name), 3) + 2 for name in short) > 75
    gap = "  " if upright else "\n"
    texts = [f"{text}{gap}{agreement[name]:.2f}" for text, name in zip(short, names, strict=True)]
    size = 9 if len(names) <= 32 else 7
    axes.set_xticks(range(len(names)), texts, fontsize=size, rotation=90 if upright else 0)
    for tick, strong in zip(axes.get_xticklabels(), has_edge, strict=True):
        tick.set_color(INK if strong else MUTED)
