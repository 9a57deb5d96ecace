"""Several seeds trained as one batched model are the models of single fits."""

from collections.abc import Callable

import pytest
import torch

from sparseshift.data.cells import Cells
from sparseshift.data.design import Design
from sparseshift.errors import TrainingError
from sparseshift.models.vae import PerturbationVAE
from sparseshift.presets import PRESETS
from sparseshift.training.config import TrainingConfig
from sparseshift.training.loop import fit
from sparseshift.training.many_seeds import fit_together
from sparseshift.training.run import Run

LABELS = ("control", "A", "B", "A+B")
SEEDS = (3, 1, 4)
CONFIG = TrainingConfig(max_epochs=6, batch_size=12, n_evaluations=6, gradient_clip=1.0)
MakeCells = Callable[..., Cells]
MakeDesign = Callable[..., Design]
MakeModel = Callable[..., PerturbationVAE]
Make = Callable[..., tuple[list[PerturbationVAE], Cells, Cells]]


@pytest.fixture(name="make")
def make_members(make_cells: MakeCells, make_design: MakeDesign, make_model: MakeModel) -> Make:
    """A model a seed in float64, training and validation cells."""

    def make(preset: str, **options: object) -> tuple[list[PerturbationVAE], Cells, Cells]:
        design = make_design(preset, LABELS)
        train, validation = (make_cells(design, LABELS, n_cells=n, seed=n) for n in (46, 16))
        models = [make_model(preset, LABELS, seed=seed, dropout=0.0, **options) for seed in SEEDS]
        return models, train, validation

    return make


# a bias before batch normalisation has a gradient of rounding errors, which Adam makes large
@pytest.mark.parametrize(
    ("preset", "normalisation"),
    [*((preset, "none") for preset in PRESETS), ("svae_plus", "layer"), ("sams_vae", "layer")],
)
def test_together_is_one_by_one(preset: str, normalisation: str, make: Make) -> None:
    models, train, validation = make(preset, normalisation=normalisation)
    twins, _, _ = make(preset, normalisation=normalisation)
    runs = [
        Run(model, train, validation, CONFIG, seed)
        for model, seed in zip(models, SEEDS, strict=True)
    ]
    together = fit_together(runs)
    for model, twin, history, seed in zip(models, twins, together, SEEDS, strict=True):
        alone = fit(twin, train, validation, CONFIG, seed)
        assert history.best == alone.best
        for record, expected in zip(history.records, alone.records, strict=True):
            assert record == pytest.approx(expected, rel=1e-6)
        for (name, a), b in zip(
            model.state_dict().items(), twin.state_dict().values(), strict=True
        ):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8, msg=name)


def test_statistics_of_batch_normalisation_are_each_models_own(make: Make) -> None:
    models, train, validation = make("svae_plus")
    twins, _, _ = make("svae_plus")
    config = TrainingConfig(max_epochs=1, batch_size=46, n_evaluations=1)
    fit_together(
        [Run(m, train, validation, config, seed) for m, seed in zip(models, SEEDS, strict=True)]
    )
    for model, twin, seed in zip(models, twins, SEEDS, strict=True):
        fit(twin, train, validation, config, seed)
        for (name, a), b in zip(model.named_buffers(), twin.buffers(), strict=True):
            torch.testing.assert_close(a, b, msg=name)


def test_dropout_differs_between_seeds(make: Make, make_model: MakeModel) -> None:
    _, train, validation = make("vae")
    models = [make_model("vae", LABELS, seed=0, dropout=0.5) for _ in SEEDS]
    config = TrainingConfig(max_epochs=1, batch_size=46, n_evaluations=1)
    # equal weights, batches and noise: dropout alone tells them apart
    fit_together([Run(model, train, validation, config, 0) for model in models])
    first, second, _ = (model.encoder.head.weight for model in models)
    assert not torch.allclose(first, second)


def test_the_model_whose_loss_is_not_finite_is_named(make: Make) -> None:
    models, train, validation = make("vae", normalisation="none")
    with torch.no_grad():
        models[1].decoder.scores.bias.fill_(torch.nan)
    runs = [
        Run(model, train, validation, CONFIG, seed)
        for model, seed in zip(models, SEEDS, strict=True)
    ]
    with pytest.raises(TrainingError, match=r"epoch 1 \(seed 1\): the term reconstruction"):
        fit_together(runs)


def test_each_has_its_ramp_cut_and_stops_on_its_own(make: Make) -> None:
    config = TrainingConfig(
        max_epochs=200,
        batch_size=12,
        n_evaluations=40,
        patience=4,
        kl_warmup=0.6,
        learning_rate=0.02,
    )
    models, train, validation = make("vae", normalisation="none")
    twins, _, _ = make("vae", normalisation="none")
    few = train.take(torch.arange(12))
    runs = [
        Run(model, few, validation, config, seed)
        for model, seed in zip(models, SEEDS, strict=True)
    ]
    together = fit_together(runs)
    lengths, cuts = set(), set()
    for history, twin, seed in zip(together, twins, SEEDS, strict=True):
        alone = fit(twin, few, validation, config, seed)
        assert len(history.records) == len(alone.records)
        assert history.best == alone.best
        weight = [record.kl_weight for record in history.records]
        assert weight == [record.kl_weight for record in alone.records]
        lengths.add(len(weight))
        cuts.add(weight.index(1.0))
    assert max(cuts) < 0.6 * 40
    assert len(lengths) > 1
    assert len(cuts) > 1
