"""The training loop on screens of a few dozen cells."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sparseshift.data.cells import Cells
from sparseshift.data.design import Design
from sparseshift.errors import TrainingError
from sparseshift.models.build import build_model
from sparseshift.models.priors import AveragedShift, Shift, ShiftNoise
from sparseshift.models.vae import Noise, PerturbationVAE
from sparseshift.presets import PRESETS, build_options
from sparseshift.probability.negative_binomial import log_factorials
from sparseshift.training.checkpoint import Checkpoint
from sparseshift.training.config import TrainingConfig
from sparseshift.training.history import History, objectives_less_ramp
from sparseshift.training.loop import fit
from sparseshift.training.schedule import Schedule

LABELS = ("control", "A", "B", "A+B")
MakeCells = Callable[..., Cells]


def design_of(preset: str, **options: object) -> Design:
    """The design that a preset makes of the labels."""
    chosen = build_options(preset, options)
    anchor = "control" if chosen.anchor_control else None
    return Design.of_labels(LABELS, anchor, additive=chosen.additive)


def screen(make_cells: MakeCells, n_cells: int, preset: str = "svae_plus", seed: int = 0) -> Cells:
    """Cells in single precision, as in training."""
    cells = make_cells(design_of(preset), LABELS, n_cells=n_cells, n_genes=8, seed=seed)
    # a gene that tells A from the others, so that there is something to learn
    counts = cells.counts.clone()
    counts[:, 1] += 30.0 * (cells.label % 2)
    return cells._replace(counts=counts.float(), design=cells.design.float())


def model_of(preset: str = "svae_plus", seed: int = 0, **options: object) -> PerturbationVAE:
    """An untrained model for these cells."""
    return build_model(
        build_options(preset, {"n_hidden": 16, **options}),
        design_of(preset, **options),
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
    assert best.validation_objective == min(
        record.validation_objective for record in history.records if record.kl_weight == 1
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
    # the best record is that of the weights, so that it can be computed again
    best = history.records[history.best]
    noise = model.draw_noise(validation, torch.Generator().manual_seed(0))
    with torch.no_grad():
        terms = model.elbo_terms(validation, noise)
        penalty = model.prior.cost(90) / 90
        value = terms.kl_latent - terms.reconstruction + log_factorials(validation.counts)
    assert best.penalty == pytest.approx(penalty.item())
    by_label = [value[validation.label == code].mean().item() for code in range(4)]
    assert best.validation_negative_elbo == pytest.approx((value.mean() + penalty).item())
    macro = sum(by_label) / 4 + penalty.item()
    assert best.validation_negative_elbo_macro == pytest.approx(macro)
    assert best.n_edges == int((model.prior.inclusion_probability() > 0.5).sum())


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
        max_epochs=40, patience=3, n_evaluations=40, kl_warmup=0.0, learning_rate=1e-12
    )
    model = model_of("vae", normalisation="none")
    history = fit(model, cells, cells, config, seed=0)
    # nothing improves: the first evaluations, then three without a better one
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
    assert results[0][1].records == results[1][1].records
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
    draw_noise = model.draw_noise

    def watched(cells: Cells, generator: torch.Generator) -> Noise:
        if model.training:
            seen.append(cells.counts[:, 2].tolist())
        return draw_noise(cells, generator)

    monkeypatch.setattr(model, "draw_noise", watched)
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
        ("reconstruction", "likelihood.log_inverse_dispersion", math.nan),
        ("reconstruction", "decoder.scores.bias", math.inf),
        ("kl_global", "prior.mask.logit", math.inf),
        ("kl_latent", "prior.effects.table", math.nan),
    ],
)
def test_not_finite_stops_with_the_term_and_the_epoch(
    term: str, weight: str, value: float, make_cells: MakeCells
) -> None:
    model = model_of()
    with torch.no_grad():
        model.get_parameter(weight).view(-1)[0] = value
    with pytest.raises(TrainingError, match=rf"stopped in epoch 1 \(seed 0\): the term {term}"):
        fit(model, screen(make_cells, 30), None, TrainingConfig(max_epochs=2), seed=0)


def test_not_finite_names_the_cells_and_a_later_epoch_and_keeps_good_weights(
    make_cells: MakeCells, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = screen(make_cells, 30)
    cells.counts[:, 2] = torch.arange(30).float()
    model = model_of()
    shift_of, steps = model.prior.shift, 0

    def broken(batch: Cells, noise: ShiftNoise) -> Shift:
        nonlocal steps
        averaged = shift_of(batch, noise)
        assert isinstance(averaged, AveragedShift)
        shift = averaged.moments()
        steps += model.training
        if steps < 3:
            return shift
        bad = torch.isin(batch.counts[:, 2], torch.tensor([4.0, 17.0]))
        return shift._replace(mean=torch.where(bad.unsqueeze(1), torch.inf, shift.mean))

    monkeypatch.setattr(model.prior, "shift", broken)
    with pytest.raises(TrainingError) as error:
        fit(model, cells, cells, TrainingConfig(max_epochs=9), seed=0)
    text = str(error.value)
    assert "epoch 3 (seed 0): the term kl_latent of training cells" in text
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
    batch = cells.take(order)
    terms = start.elbo_terms(batch, start.draw_noise(batch, generator), 30)
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


def gradients_of_one_step(
    make_cells: MakeCells, preset: str, options: dict[str, Any], **training: Any
) -> dict[str, Tensor]:
    """Of the loss of one step without warm-up and without clipping."""
    cells = screen(make_cells, 30, preset)
    model = model_of(preset, **options)
    settings = {"max_epochs": 1, "kl_warmup": 0.0, "gradient_clip": None, **training}
    fit(model, cells, None, TrainingConfig(**settings), seed=4)
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    assert found
    return found


@pytest.mark.parametrize("preset", ["beta_vae", "svae_plus", "sams_vae", "paper.svae"])
def test_beta_weighs_the_kl_terms_alone(preset: str, make_cells: MakeCells) -> None:
    zero, one, four = (
        gradients_of_one_step(make_cells, preset, {"beta": beta, "dropout": 0.0})
        for beta in (1e-9, 1.0, 4.0)
    )
    for name in one:
        # what beta adds is four times what 1 adds: the gradient of the KL terms
        added = one[name] - zero[name]
        scale = max(1.0, zero[name].abs().max().item())
        torch.testing.assert_close(
            four[name] - zero[name], 4.0 * added, atol=1e-5 * scale, rtol=1e-3
        )
    # which do not reach what only the likelihood has
    for name in ("likelihood.log_inverse_dispersion", "decoder.scores.bias"):
        torch.testing.assert_close(four[name], zero[name], atol=1e-6, rtol=1e-5)
    assert (four["encoder.head.weight"] - zero["encoder.head.weight"]).abs().max() > 1e-4


@pytest.mark.parametrize("preset", ["vae", "svae_plus", "paper.svae_plus"])
def test_a_loss_for_the_screen_is_that_of_a_cell_times_the_cells(
    preset: str, make_cells: MakeCells
) -> None:
    cell, whole = (
        gradients_of_one_step(make_cells, preset, {"dropout": 0.0}, objective_scale=scale)
        for scale in ("cell", "screen")
    )
    for name, gradient in cell.items():
        scale = max(1.0, gradient.abs().max().item())
        torch.testing.assert_close(whole[name], 30 * gradient, atol=1e-3 * scale, rtol=1e-4)


@pytest.mark.parametrize("preset", ["svae_plus", "sams_vae", "paper.svae"])
@pytest.mark.parametrize("validated", [True, False])
def test_a_fit_that_was_interrupted_goes_on_with_the_same_numbers(
    preset: str, validated: bool, make_cells: MakeCells, tmp_path: Path
) -> None:
    train = screen(make_cells, 60, preset)
    validation = screen(make_cells, 20, preset, seed=1) if validated else None
    config = TrainingConfig(max_epochs=6, batch_size=16, n_evaluations=3, kl_warmup=0.3)
    whole = model_of(preset)
    history = fit(whole, train, validation, config, seed=5)
    checkpoint = Checkpoint(tmp_path / "phase_0.safetensors", interval=0.0)
    for n_calls in (9, 3, 100):
        torch.manual_seed(n_calls)
        model = model_of(preset)
        left = n_calls
        draw = model.draw_noise

        def stop(cells: Cells, generator: torch.Generator | None = None) -> Noise:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            return draw(cells, generator)  # noqa: B023 called before the next round

        model.draw_noise = stop  # type: ignore[method-assign]
        with suppress(KeyboardInterrupt):
            resumed = fit(model, train, validation, config, seed=5, checkpoint=checkpoint)
    assert equal(weights(model), weights(whole))
    assert repr(resumed.records) == repr(history.records)  # NaN is not equal to itself
    # what is finished is not done again
    again = model_of(preset, seed=9)
    assert repr(fit(again, train, validation, config, 5, checkpoint)) == repr(resumed)
    assert equal(weights(again), weights(whole))


def test_an_unreadable_checkpoint_means_a_fit_from_the_start(
    make_cells: MakeCells, tmp_path: Path
) -> None:
    cells, config = screen(make_cells, 40), TrainingConfig(max_epochs=2)
    plain, other = model_of(), model_of()
    history = fit(plain, cells, cells, config, seed=0)
    checkpoint = Checkpoint(tmp_path / "phase_0.safetensors")
    checkpoint.path.write_bytes(b"not a state")
    assert fit(other, cells, cells, config, 0, checkpoint).records == history.records
    assert equal(weights(plain), weights(other))


@pytest.fixture(name="too_few")
def cells_that_are_overfitted(make_cells: MakeCells) -> tuple[Cells, Cells]:
    """A dozen cells to train on: a decoder of this size knows them by heart before the ramp is over."""
    return screen(make_cells, 12), screen(make_cells, 40, seed=1)


OVERFITTING = TrainingConfig(
    max_epochs=300, batch_size=12, n_evaluations=60, patience=5, kl_warmup=0.6, learning_rate=0.02
)


def test_a_ramp_in_which_a_model_overfits_is_cut_short(too_few: tuple[Cells, Cells]) -> None:
    model = model_of("vae", normalisation="none", n_hidden=64)
    history = fit(model, *too_few, OVERFITTING, seed=0)
    weight = [record.kl_weight for record in history.records]
    cut = weight.index(1.0)
    # long before the end of the ramp, at .6 of 60 evaluations, and the weight jumped
    assert cut < 30
    assert weight[cut - 1] < 0.9
    # it went on from weights of before, with patience of its own
    score = objectives_less_ramp(history.records)
    lowest = min(range(cut), key=score.__getitem__)
    assert cut - 1 - lowest == OVERFITTING.patience
    assert len(history.records) - cut >= OVERFITTING.patience
    reconstruction = [record.validation_reconstruction for record in history.records]
    assert reconstruction[cut - 1] < reconstruction[cut] < reconstruction[lowest]
    # which is better than the ramp gone through to its end
    patient = replace(OVERFITTING, patience=300)
    through = fit(model_of("vae", normalisation="none", n_hidden=64), *too_few, patient, seed=0)
    late = [r.validation_objective for r in through.records if r.kl_weight == 1.0]
    assert history.best_record.validation_objective < min(late) - 0.5


def test_a_fit_that_is_all_ramp_ends_where_it_overfits(too_few: tuple[Cells, Cells]) -> None:
    config = replace(OVERFITTING, kl_warmup=1.0, kl_weight=0.5)
    history = fit(model_of("vae", normalisation="none", n_hidden=64), *too_few, config, seed=0)
    assert len(history.records) - 1 - history.best == config.patience
    assert history.records[-1].kl_weight < 0.3


def test_a_fit_interrupted_after_its_ramp_was_cut_ends_with_the_same_numbers(
    too_few: tuple[Cells, Cells], tmp_path: Path
) -> None:
    def new() -> PerturbationVAE:
        return model_of("vae", normalisation="none", n_hidden=64)

    whole = new()
    history = fit(whole, *too_few, OVERFITTING, seed=0)
    cut = next(record.epoch for record in history.records if record.kl_weight == 1.0)
    checkpoint = Checkpoint(tmp_path / "phase_0.safetensors", interval=0.0)
    for n_epochs in (cut - 6, 4, 3, 1000):
        model, left = new(), n_epochs
        draw = model.draw_noise

        def stop(cells: Cells, generator: torch.Generator | None = None) -> Noise:
            nonlocal left
            left -= cells.n_cells == 12  # a step
            if left < 0:
                raise KeyboardInterrupt
            return draw(cells, generator)  # noqa: B023 called before the next round

        model.draw_noise = stop  # type: ignore[method-assign]
        with suppress(KeyboardInterrupt):
            resumed = fit(model, *too_few, OVERFITTING, seed=0, checkpoint=checkpoint)
    assert resumed.records == history.records
    assert resumed.best == history.best
    assert equal(weights(model), weights(whole))
