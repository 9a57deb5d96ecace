"""The training loop on screens of a few dozen cells."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from sparseshift.data.cells import Cells
from sparseshift.data.design import Design
from sparseshift.errors import TrainingError
from sparseshift.models.presets import PRESETS, build_model, build_options, get_preset
from sparseshift.models.vae import PerturbationVAE
from sparseshift.probability.bounds import ElboTerms
from sparseshift.probability.negative_binomial import log_factorials
from sparseshift.training.config import TrainingConfig
from sparseshift.training.history import History, Record
from sparseshift.training.loop import BestWeights, Schedule, fit

LABELS = ("control", "A", "B", "A+B")
MakeCells = Callable[..., Cells]


def screen(make_cells: MakeCells, n_cells: int, preset: str = "svae_plus", seed: int = 0) -> Cells:
    """Cells in single precision, as in training."""
    additive = get_preset(preset).additive
    design = Design.of_labels(LABELS, "control", additive=additive)
    cells = make_cells(design, LABELS, n_cells=n_cells, n_genes=8, seed=seed)
    # a gene that tells A from the others, so that there is something to learn
    counts = cells.counts.clone()
    counts[:, 1] += 30.0 * (cells.label % 2)
    return cells._replace(counts=counts.float(), design=cells.design.float())


def model_of(preset: str = "svae_plus", seed: int = 0, **options: object) -> PerturbationVAE:
    """An untrained model for these cells."""
    design = Design.of_labels(LABELS, "control", additive=get_preset(preset).additive)
    return build_model(
        preset,
        build_options(preset, {"n_hidden": 16, **options}),
        design,
        n_genes=8,
        n_batches=1,
        n_latents=2,
        seed=seed,
    )


def weights(model: PerturbationVAE) -> list[Tensor]:
    """Copies of all weights and buffers."""
    return [value.clone() for value in model.state_dict().values()]


def equal(a: Sequence[Tensor], b: Sequence[Tensor]) -> bool:
    """Bit by bit."""
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("preset", PRESETS)
def test_loss_falls(preset: str, make_cells: MakeCells) -> None:
    train, validation = screen(make_cells, 96, preset), screen(make_cells, 48, preset, seed=1)
    config = TrainingConfig(steps=60, batch_size=32, learning_rate=0.01, n_evaluations=10)
    barely = TrainingConfig(max_epochs=1, batch_size=32, learning_rate=1e-9)
    history = fit(model_of(preset), train, validation, config, seed=0)
    first, best = history.records[0], history.best_record
    assert history.records[-1].train_negative_elbo < first.train_negative_elbo - 0.5
    untrained = fit(model_of(preset), train, validation, barely, seed=0).records[0]
    assert best.validation_negative_elbo < untrained.validation_negative_elbo - 0.5
    assert best.validation_negative_elbo_macro == min(
        record.validation_negative_elbo_macro
        for record in history.records
        if record.kl_weight == 1
    )


def test_records(make_cells: MakeCells) -> None:
    train, validation = screen(make_cells, 90), screen(make_cells, 40, seed=1)
    config = TrainingConfig(max_epochs=7, batch_size=30, n_evaluations=3, kl_warmup=0.5)
    model = model_of()
    history = fit(model, train, validation, config, seed=0)
    assert [record.epoch for record in history.records] == [3, 6, 7]
    assert [record.step for record in history.records] == [9, 18, 21]
    schedule = Schedule(config, 21)
    for record in history.records:
        assert record.kl_weight == schedule.kl_weight(record.step - 1)
        assert record.learning_rate == pytest.approx(3e-3 * schedule.rate(record.step - 1))
        parts = record.validation_kl - record.validation_reconstruction + record.penalty
        assert record.validation_negative_elbo == pytest.approx(parts, rel=1e-5)
    assert not model.training
    # the last record is that of the weights, so that it can be computed again
    assert history.best == 2
    last = history.records[-1]
    noise = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        terms = model.elbo_terms(validation, noise)
        penalty = model.prior.penalty() / 90
        value = terms.kl_latent - terms.reconstruction + log_factorials(validation.counts)
    assert last.penalty == pytest.approx(penalty.item())
    by_label = [value[validation.label == code].mean().item() for code in range(4)]
    assert last.validation_negative_elbo == pytest.approx((value.mean() + penalty).item())
    macro = sum(by_label) / 4 + penalty.item()
    assert last.validation_negative_elbo_macro == pytest.approx(macro)
    assert last.n_edges == int((model.prior.inclusion_probability() > 0.5).sum())


@pytest.mark.parametrize("n_evaluations", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("n_epochs", [1, 5, 8])
def test_number_of_evaluations(n_evaluations: int, n_epochs: int, make_cells: MakeCells) -> None:
    config = TrainingConfig(max_epochs=n_epochs, n_evaluations=n_evaluations, patience=99)
    history = fit(model_of("vae"), screen(make_cells, 20), None, config, seed=0)
    assert 1 <= len(history.records) <= n_evaluations
    assert history.records[-1].epoch == n_epochs


def test_training_stops_early(make_cells: MakeCells) -> None:
    cells = screen(make_cells, 40)
    config = TrainingConfig(
        max_epochs=40, patience=3, n_evaluations=40, kl_warmup=0.1, learning_rate=1e-12
    )
    model = model_of("vae", normalisation="none")
    history = fit(model, cells, cells, config, seed=0)
    # nothing improves: the first evaluations of the warm-up, then three without a better one
    assert len(history.records) < 40
    assert len(history.records) - 1 - history.best == 3


def test_same_seed_same_bits(make_cells: MakeCells) -> None:
    train, validation = screen(make_cells, 60), screen(make_cells, 20, seed=1)
    config = TrainingConfig(max_epochs=3, batch_size=16)
    results: list[tuple[list[Tensor], History]] = []
    for seed in (5, 5, 6):
        torch.manual_seed(len(results))  # what torch's own generator holds must not matter
        model = model_of()
        history = fit(model, train, validation, config, seed=seed)
        results.append((weights(model), history))
    assert equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
    assert not equal(results[0][0], results[2][0])


def test_same_seed_same_bits_with_dropout(make_cells: MakeCells) -> None:
    cells = screen(make_cells, 60)
    results: list[list[Tensor]] = []
    for state in (0, 1):
        torch.manual_seed(state)
        model = model_of(dropout=0.2)
        fit(model, cells, None, TrainingConfig(max_epochs=2, batch_size=16), seed=5)
        results.append(weights(model))
    assert equal(*results)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_training_leaves_torchs_generator_alone(dropout: float, make_cells: MakeCells) -> None:
    before = torch.random.get_rng_state()
    fit(model_of(dropout=dropout), screen(make_cells, 30), None, TrainingConfig(max_epochs=1), 0)
    assert torch.equal(torch.random.get_rng_state(), before)


def watch_batches(model: PerturbationVAE, monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """What each training batch holds of gene 2, filled while training."""
    seen: list[list[float]] = []
    elbo_terms = model.elbo_terms

    def watched(cells: Cells, noise: Tensor) -> ElboTerms:
        if model.training:
            seen.append(cells.counts[:, 2].tolist())
        return elbo_terms(cells, noise)

    monkeypatch.setattr(model, "elbo_terms", watched)
    return seen


@pytest.mark.parametrize(
    ("n_cells", "sizes"),
    [
        (20, [20]),
        (21, [21]),
        (44, [44]),
        (46, [23, 23]),
        (64, [32, 32]),
        (89, [30, 30, 29]),
        (95, [32, 32, 31]),
    ],
)
def test_every_cell_is_seen_once_an_epoch(
    n_cells: int, sizes: list[int], make_cells: MakeCells, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = screen(make_cells, n_cells)
    cells.counts[:, 2] = torch.arange(n_cells).float()
    model = model_of()
    seen = watch_batches(model, monkeypatch)
    fit(model, cells, cells, TrainingConfig(max_epochs=3, batch_size=30), seed=0)
    per_epoch = len(sizes)
    assert len(seen) == 3 * per_epoch
    orders = []
    for epoch in range(3):
        batches = seen[epoch * per_epoch : (epoch + 1) * per_epoch]
        assert [len(batch) for batch in batches] == sizes
        orders.append([cell for batch in batches for cell in batch])
        assert sorted(orders[-1]) == list(range(n_cells))
    assert orders[0] != orders[1]


def test_no_validation_cells(make_cells: MakeCells) -> None:
    cells = screen(make_cells, 40)
    model = model_of()
    history = fit(model, cells, None, TrainingConfig(max_epochs=6, patience=1), seed=0)
    assert len(history.records) == 6
    assert history.best == 5
    for record in history.records:
        assert math.isnan(record.validation_negative_elbo)
        assert math.isnan(record.validation_negative_elbo_macro)
        assert math.isfinite(record.train_negative_elbo)


def test_one_evaluation_after_the_warmup_returns_trained_weights(make_cells: MakeCells) -> None:
    cells = screen(make_cells, 40)
    results = []
    for validation in (cells, None):
        model = model_of()
        start = weights(model)
        fit(model, cells, validation, TrainingConfig(max_epochs=3, n_evaluations=1), seed=0)
        assert not equal(weights(model), start)
        results.append(weights(model))
    assert equal(*results)


def test_train_and_validation_negative_elbos_compare(make_cells: MakeCells) -> None:
    # documented alike, in nats a cell: the same cells must have about the same
    cells = screen(make_cells, 64)
    config = TrainingConfig(max_epochs=1, learning_rate=1e-9)
    history = fit(model_of(normalisation="none"), cells, cells, config, seed=0)
    record = history.records[0]
    assert record.train_negative_elbo == pytest.approx(record.validation_negative_elbo, rel=0.02)


@pytest.mark.parametrize(
    ("term", "weight", "value"),
    [
        ("reconstruction", "log_inverse_dispersion", math.nan),
        ("reconstruction", "decoder.log_scale.bias", math.inf),
        ("kl_global", "prior.mask.logit", math.inf),
        ("kl_latent", "prior.effect_table", math.nan),
    ],
)
def test_not_finite_stops_with_the_term_and_the_epoch(
    term: str, weight: str, value: float, make_cells: MakeCells
) -> None:
    model = model_of()
    with torch.no_grad():
        model.get_parameter(weight).view(-1)[0] = value
    with pytest.raises(TrainingError, match=rf"stopped in epoch 1: the term {term}"):
        fit(model, screen(make_cells, 30), None, TrainingConfig(max_epochs=2), seed=0)


def test_not_finite_names_the_cells_and_a_later_epoch_and_keeps_good_weights(
    make_cells: MakeCells, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = screen(make_cells, 30)
    cells.counts[:, 2] = torch.arange(30).float()
    model = model_of()
    elbo_terms, steps = model.elbo_terms, 0

    def broken(batch: Cells, noise: Tensor) -> ElboTerms:
        nonlocal steps
        terms = elbo_terms(batch, noise)
        steps += model.training
        if steps < 3:
            return terms
        bad = torch.isin(batch.counts[:, 2], torch.tensor([4.0, 17.0]))
        return terms._replace(kl_latent=torch.where(bad, torch.inf, terms.kl_latent))

    monkeypatch.setattr(model, "elbo_terms", broken)
    with pytest.raises(TrainingError) as error:
        fit(model, cells, cells, TrainingConfig(max_epochs=9), seed=0)
    text = str(error.value)
    assert "epoch 3: the term kl_latent of training cells" in text
    named = text[text.index("[") + 1 : text.index("]")].split(",")
    assert sorted(map(int, named)) == [4, 17]
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_weights_that_break_in_the_last_step_are_not_returned(make_cells: MakeCells) -> None:
    cells = screen(make_cells, 30)
    model = model_of("vae")
    config = TrainingConfig(max_epochs=1, learning_rate=1e38)
    with suppress(TrainingError):
        fit(model, cells, cells, config, seed=0)
    with torch.no_grad():
        mean, _ = model.encoder(cells.counts)
    assert torch.isfinite(mean).all()


@pytest.mark.parametrize("kl_warmup", [0.0, 0.5])
def test_a_step_goes_down_the_mean_negative_elbo(kl_warmup: float, make_cells: MakeCells) -> None:
    cells = screen(make_cells, 30)
    model, start = model_of(alpha=50.0), model_of(alpha=50.0)
    config = TrainingConfig(max_epochs=1, kl_warmup=kl_warmup, gradient_clip=1e9)
    fit(model, cells, None, config, seed=4)
    generator = torch.Generator().manual_seed(4)
    order = torch.randperm(30, generator=generator)
    terms = start.elbo_terms(cells.take(order), torch.randn(30, 2, generator=generator))
    weight = Schedule(config, 1).kl_weight(0)
    assert (weight == 1.0) == (kl_warmup == 0.0)
    kl = terms.kl_latent.mean() + terms.kl_global / 30
    (weight * kl - terms.reconstruction.mean()).backward()
    for (name, a), b in zip(model.named_parameters(), start.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        torch.testing.assert_close(a.grad, b.grad, atol=1e-5, rtol=1e-4, msg=name)


def test_gradients_are_clipped(make_cells: MakeCells) -> None:
    cells = screen(make_cells, 30)
    norms = []
    for clip in (1e-3, 1e3):
        model = model_of("vae")
        fit(model, cells, None, TrainingConfig(max_epochs=1, gradient_clip=clip), seed=0)
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        norms.append(torch.stack([g.norm() for g in grads]).norm().item())
    assert norms[0] == pytest.approx(1e-3, rel=1e-3)
    assert norms[1] > 1.0


def test_mask_logits_have_a_rate_of_their_own(make_cells: MakeCells) -> None:
    cells = screen(make_cells, 30)
    moved = []
    for logit_rate in (1.0, 10.0):
        model = model_of()
        start = model.get_parameter("prior.mask.logit").detach().clone()
        fit(model, cells, None, TrainingConfig(max_epochs=1, logit_rate=logit_rate), seed=0)
        moved.append((model.get_parameter("prior.mask.logit").detach() - start).abs().mean())
    assert (moved[1] / moved[0]).item() == pytest.approx(10.0, rel=1e-3)
