"""What all figures share: the colour and place of each model, sizes, and labels made safe.

Figures are 6.5 inches wide and stay legible when shown 340 pixels wide: text of 9 to 11 pt, few panels.
They are made without pyplot, so nothing is global and they may be drawn in any thread.
"""

from collections.abc import Iterable
from typing import Literal
from zlib import crc32

from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 6.5  # inches
INK = "#1a1a1a"
MUTED = "#6b6b6b"
FAINT = "#d0d0d0"
RAISED, LOWERED = "#b2182b", "#2166ac"  # the ends of DIVERGING
DIVERGING = "RdBu_r"

# Okabe and Ito's palette for the models, greys for what has nothing to train. The order is the one
# of every table and figure: the simplest first, what bounds the others last.
MODEL_COLOURS = {
    "no_change": "#9a9a9a",
    "mean": "#808080",
    "mean_effect": "#808080",
    "additive": "#6b6b6b",
    "ridge": "#616161",
    "low_rank_linear": "#575757",
    "matching_mean": "#505050",
    "support_mean": "#444444",
    "support_mean_shrunk": "#2b2b2b",
    "support_mean_to_control": "#111111",
    "nb_perturbed_mean": "#9a9a9a",
    "nb_support": "#6b6b6b",
    "nb_support_shrunk": "#2b2b2b",
    "raw_effects": "#575757",
    "pca": "#9a9a9a",
    "factor_analysis": "#808080",
    "fast_ica": "#6b6b6b",
    "nmf": "#575757",
    "vae": "#009e73",
    "beta_vae": "#332288",
    "rotated_vae": "#999933",
    "conditional_vae": "#882255",
    "ivae": "#0072b2",
    "cpa_vae": "#56b4e9",
    "svae": "#cc79a7",
    "sams_vae": "#e69f00",
    "svae_plus": "#d55e00",
    "svae_plus_cellwise": "#7f0000",
    # the published code's, darker than ours
    "paper_vae": "#005c43",
    "paper_beta_vae": "#1d134d",
    "paper_ivae": "#00416b",
    "paper_svae": "#7a3d63",
    "paper_svae_plus": "#7a3600",
}
CEILINGS = ("noise_ceiling",)
_UNKNOWN_COLOURS = ("#7f3b08", "#4d9221", "#542788", "#01665e")

# Paul Tol's muted palette: nine groups that stay apart for colour-blind readers.
GROUP_COLOURS = (
    "#cc6677",
    "#332288",
    "#ddaa33",
    "#117733",
    "#88ccee",
    "#882255",
    "#44aa99",
    "#999933",
    "#aa4499",
)


def model_colour(name: str) -> str:
    """The colour of a model in every figure. A name not known here gets one by its spelling."""
    if name in CEILINGS:
        return "#000000"
    known = MODEL_COLOURS.get(name)
    return known or _UNKNOWN_COLOURS[crc32(name.encode()) % len(_UNKNOWN_COLOURS)]


def ordered_models(names: Iterable[str]) -> list[str]:
    """Each name once: baselines, models from plain to sparse, names not known here, ceilings."""
    place = {name: i for i, name in enumerate(MODEL_COLOURS)}

    def key(name: str) -> tuple[bool, int, str]:
        return name in CEILINGS, place.get(name, len(place)), name

    return sorted(set(names), key=key)


def label(text: object, limit: int = 24) -> str:
    """A name from a user's file as one line of figure text of at most `limit` characters.

    Long names lose their middle. Dollar signs are shown, not taken as mathematics, and a leading
    underscore does not hide an entry of a legend.
    """
    line = "".join(c if c.isprintable() else " " for c in str(text)).strip()
    if len(line) > limit:
        line = f"{line[: limit - limit // 3 - 1]}…{line[-(limit // 3) :]}"
    return ("\u200a" if line.startswith("_") else "") + line.replace("$", r"\$")


def new_figure(height: float) -> Figure:
    """An empty figure `height` inches high."""
    return Figure(figsize=(WIDTH, height), layout="constrained", facecolor="white")


def message_figure(message: str) -> Figure:
    """A figure that says in words why there is nothing to draw."""
    figure = new_figure(1.0)
    figure.text(0.5, 0.5, message, ha="center", va="center", color=MUTED, fontsize=11)
    return figure


def open_axes(axes: Axes, grid: Literal["x", "y", "both"] | None = None) -> None:
    """Remove the frame's top and right side; `grid` "x", "y" or "both" for faint lines of these axes."""
    axes.spines[["top", "right"]].set_visible(False)
    if grid is not None:
        axes.grid(axis=grid, color="#ececec", linewidth=0.8)
    axes.set_axisbelow(True)
