"""Where two perturbations together do not do what each does alone: interactions, and the strongest of them."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sparseshift.plots.style import (
    DIVERGING,
    FAINT,
    INK,
    LOWERED,
    MUTED,
    RAISED,
    label,
    message_figure,
    new_figure,
    open_axes,
)

MAX_ROWS = 40
MAX_STRONGEST = 10
_LETTERS = {
    "synergistic": "S",
    "buffering": "B",
    "dominated": "D",
    "reversed": "R",
    "additive": "=",
}
_CALLED = ("synergistic", "buffering", "dominated", "reversed")
_LEAST_LIMIT = 0.5  # units of z: what is small should not look large


def interaction(interactions: pd.DataFrame) -> Figure:
    """Draw the non-additive part of doubles, doubles x latents, and the clearest ones beside their sums.

    Above, the colour is the interaction in units of z: red where the double is above the sum of its
    singles, blue below. Letters stand for kinds: S synergistic, B buffering, D dominated, R reversed, =
    additive; without one it is not resolvable. Doubles are in the order of their smallest q-value; of
    more than 40 the first are shown, which the axis says, as it does of doubles that lack cells.

    Below, up to ten interactions that were called, smallest q-values first: the double (filled, with the
    interval of the interaction), the sum of the singles (open), and the singles (upright marks).

    Args:
        interactions: rows of `evaluation.interaction.interactions`.
    """
    known = interactions[interactions["interaction"].notna()]
    n_all = interactions["perturbation"].nunique()
    if known.empty:
        return message_figure(f"No interaction of {n_all} doubles can be estimated.")
    latents = interactions["latent"].drop_duplicates().tolist()
    rows = _ordered(known)[:MAX_ROWS]
    called = known[known["kind"].isin(_CALLED)]
    clearest = called.assign(z=(called["interaction"] / called["standard_error"]).abs())
    clearest = clearest.sort_values(["q_value", "z"], ascending=[True, False])[:MAX_STRONGEST]
    height = max(0.24 * len(rows), 0.5)
    below = 0.3 * len(clearest) + 0.2
    ratios = [0.14, height, below] if len(clearest) else [0.14, height]
    figure = new_figure(height + (below + 3.2 if len(clearest) else 2.1))
    panels = figure.subplots(len(ratios), 1, height_ratios=ratios)
    _draw_matrix(panels[1], panels[0], known, rows, latents)
    sentence = _shown(len(rows), known["perturbation"].nunique(), n_all, len(called))
    panels[1].set_xlabel(f"latent\n{sentence}")
    if len(clearest):
        _draw_clearest(panels[2], clearest)
    return figure


def _ordered(known: pd.DataFrame) -> list[str]:
    """Doubles by their smallest q-value, equal ones by their largest interaction."""
    groups = known.assign(size=known["interaction"].abs()).groupby("perturbation", sort=False)
    best = groups.agg(q_value=("q_value", "min"), size=("size", "max"))
    return best.sort_values(["q_value", "size"], ascending=[True, False]).index.tolist()


def _draw_matrix(
    axes: Axes, scale: Axes, known: pd.DataFrame, rows: list[str], latents: list[str]
) -> None:
    value, kind = (
        known.pivot(index="perturbation", columns="latent", values=column)
        .reindex(index=rows, columns=latents)
        .to_numpy()
        for column in ("interaction", "kind")
    )
    sizes = np.abs(value.astype(float))
    limit = max(float(np.nanquantile(sizes, 0.98)), _LEAST_LIMIT)
    axes.set_facecolor(FAINT)
    image = axes.imshow(
        value.astype(float), cmap=DIVERGING, vmin=-limit, vmax=limit, aspect="auto"
    )
    for (row, column), name in np.ndenumerate(kind):
        colour = "white" if sizes[row, column] > 0.6 * limit else INK
        text = _LETTERS.get(name, "")
        axes.text(column, row, text, color=colour, ha="center", va="center", fontsize=9)
    axes.set_yticks(range(len(rows)), [label(name) for name in rows], fontsize=9)
    names = [label(name, 14) for name in latents]
    upright = sum(map(len, names)) + 2 * len(names) > 75
    axes.set_xticks(range(len(names)), names, fontsize=9, rotation=90 if upright else 0)
    axes.tick_params(length=0)
    beyond = bool((sizes > limit).any())
    colours = ScalarMappable(image.norm, DIVERGING)
    bar = axes.figure.colorbar(
        colours, cax=scale, orientation="horizontal", extend="both" if beyond else "neither"
    )
    bar.set_label(
        "double less the sum of its singles (units of z)\n"
        "S synergistic, B buffering, D dominated, R reversed, = additive"
    )
    scale.xaxis.set_ticks_position("top")
    scale.xaxis.set_label_position("top")


def _draw_clearest(axes: Axes, clearest: pd.DataFrame) -> None:
    rows = np.arange(len(clearest))
    a, b, expected, observed, interaction, lower, upper = (
        clearest[name].to_numpy(dtype=float)
        for name in ("a", "b", "expected", "observed", "interaction", "lower", "upper")
    )
    axes.hlines(rows, expected, observed, color=FAINT, linewidth=3, zorder=1)
    axes.plot(np.stack([a, b]), np.stack([rows, rows]), "|", color=MUTED, markersize=11, zorder=2)
    axes.plot(expected, rows, "o", markerfacecolor="white", markeredgecolor=INK, zorder=3)
    errors = np.stack([interaction - lower, upper - interaction])
    for above, colour in ((True, RAISED), (False, LOWERED)):
        of = (interaction > 0) == above
        axes.errorbar(observed[of], rows[of], xerr=errors[:, of], fmt="o", color=colour, zorder=4)
    pairs = zip(clearest["perturbation"], clearest["latent"], strict=True)
    axes.set_yticks(rows, [f"{label(p, 20)} · {label(z, 10)}" for p, z in pairs], fontsize=9)
    _name_kinds(axes, rows, clearest["kind"].tolist())
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.axvline(0, color=INK, linewidth=0.8, zorder=0)
    axes.set_xlabel("shift from control (units of z)")
    open_axes(axes, grid="x")
    handles = [
        Line2D([], [], marker="o", color=INK, linestyle="", label="double"),
        Line2D([], [], marker="o", color=INK, mfc="white", linestyle="", label="sum of singles"),
        Line2D([], [], marker="|", color=MUTED, ms=11, linestyle="", label="single"),
    ]
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False)


def _name_kinds(axes: Axes, rows: np.ndarray, kinds: list[str]) -> None:
    right = axes.secondary_yaxis("right")
    right.set_yticks(rows, kinds, fontsize=9)
    right.tick_params(length=0)
    right.spines["right"].set_visible(False)


def _shown(n_shown: int, n_known: int, n_all: int, n_called: int) -> str:
    """Which doubles are drawn, and how many interactions there are, in words."""
    text = f"{n_shown} of {n_all} doubles" if n_shown < n_all else f"all {n_all} doubles"
    if n_known < n_all:
        text += f" ({n_all - n_known} lack cells of a single or of the control)"
    return f"{text}\n{n_called or 'no'} interaction{'' if n_called == 1 else 's'} called"
