import io

import pytest

from sparseshift.plots.style import (
    MODEL_COLOURS,
    WIDTH,
    label,
    message_figure,
    model_colour,
    ordered_models,
)


def test_the_main_models_have_colours_of_their_own() -> None:
    trained = list(MODEL_COLOURS)[list(MODEL_COLOURS).index("vae") :]
    assert len({model_colour(name) for name in trained}) == len(trained)


def test_an_unknown_model_always_gets_the_same_colour() -> None:
    assert model_colour("my_model") == model_colour("my_model")
    assert model_colour("my_model") not in MODEL_COLOURS.values()


def test_baselines_first_then_plain_to_sparse_then_unknown_then_ceilings() -> None:
    names = ["noise_ceiling", "my_model", "svae_plus", "vae", "mean_effect", "ivae", "vae"]
    assert ordered_models(names) == [
        "mean_effect",
        "vae",
        "ivae",
        "svae_plus",
        "my_model",
        "noise_ceiling",
    ]


def test_label_is_one_short_line() -> None:
    assert label("STAT1") == "STAT1"
    assert label("two\nlines\tof") == "two lines of"
    long = label("A_VERY_LONG_GUIDE_NAME_FROM_A_LIBRARY_g1", 20)
    assert len(long) == 20
    assert long.startswith("A_VERY")
    assert long.endswith("g1")
    assert "…" in long


@pytest.mark.parametrize("name", ["$a_{", "_hidden", "50% $x$", "a^b_c\\frac", "<script>&", ""])
def test_any_label_can_be_drawn_and_is_shown_in_a_legend(name: str) -> None:
    figure = message_figure("x")
    axes = figure.add_subplot()
    axes.plot([0, 1], label=label(name))
    legend = figure.legend(handles=axes.lines)
    figure.savefig(io.BytesIO(), format="png")
    assert len(legend.get_texts()) == 1


def test_width_suits_a_phone() -> None:
    assert message_figure("nothing").get_size_inches()[0] == WIDTH <= 7
