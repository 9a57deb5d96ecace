"""Training with a posterior for each cell: what moves, what stays, what repeats."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sparseshift.data.cells import Cells
from sparseshift.data.design import Design
from sparseshift.errors import TrainingError
from sparseshift.models.vae import PerturbationVAE
from sparseshift.training import recipes
from sparseshift.training.cellwise import CellwiseRun, fit_cellwise
from sparseshift.training.checkpoint import Checkpoint
from sparseshift.training.config import TrainingConfig
from sparseshift.training.phase import Member
from sparseshift.training.recipes import follow

LABELS = ("control", "A", "B", "A+B")
PRESET = "svae_plus_cellwise"
CONFIG = TrainingConfig(steps=20, batch_size=16, cellwise_share=3.0, n_evaluations=5)

Make = Callable[[], tuple[PerturbationVAE, Cells]]


@pytest.fixture
def make(
    make_cells: Callable[..., Cells],
    make_design: Callable[..., Design],
    make_model: Callable[..., PerturbationVAE],
) -> Make:
    """A model and cells, both in single precision."""

    def new() -> tuple[PerturbationVAE, Cells]:
        cells = make_cells(make_design(PRESET, LABELS), LABELS, n_cells=48)
        cells = cells._replace(counts=cells.counts.float(), design=cells.design.float())
        return make_model(PRESET, LABELS).float(), cells

    return new


def parts(model: PerturbationVAE) -> dict[str, list[Tensor]]:
    """Weights of each part."""
    named = {name: getattr(model, name) for name in ("encoder", "decoder", "prior")}
    return {name: [p.detach().clone() for p in m.parameters()] for name, m in named.items()}


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def elbo(model: PerturbationVAE, cells: Cells, values: Tensor, n_draws: int = 200) -> float:
    """Of posteriors, means and log standard deviations, averaged over cells and draws."""
    model.eval()
    generator, total = torch.Generator().manual_seed(7), 0.0
    mean, log_std = values.chunk(2, dim=1)
    with torch.no_grad():
        for _ in range(n_draws):
            noise = model.draw_noise(cells, generator)
            scores = model.decoder(mean + log_std.exp() * noise.latent)
            kl = model.prior.shift(cells, noise.shift).kl_divergence(mean, log_std.exp())
            total += (model.likelihood.log_prob(cells.counts, scores) - kl).mean().item()
    return total / n_draws


def test_decoder_prior_and_posteriors_learn_and_the_encoder_stays(make: Make) -> None:
    model, cells = make()
    before = parts(model)
    mean, std = model.posterior(cells)
    start = elbo(model, cells, torch.cat([mean, std.log()], 1).detach())
    posteriors = fit_cellwise(model, cells, CONFIG.part(20.0), seed=0).posteriors
    after = parts(model)
    assert same(before["encoder"], after["encoder"])
    assert not same(before["decoder"], after["decoder"])
    assert not same(before["prior"], after["prior"])
    assert all(p.requires_grad for p in model.parameters())
    assert (posteriors.visits == CONFIG.part(20.0).epochs(48)).all()
    assert elbo(model, cells, posteriors.values) > start + 1.0


def test_the_seed_decides_and_torchs_generator_does_not(make: Make) -> None:
    found: list[list[Tensor]] = []
    for seed in (0, 0, 1):
        model, cells = make()
        torch.manual_seed(len(found))
        fit_cellwise(model, cells, CONFIG, seed)
        found.append([p.detach() for p in model.parameters()])
    assert same(found[0], found[1])
    assert not same(found[0], found[2])


def test_a_loss_that_is_not_finite_is_named(make: Make) -> None:
    model, cells = make()
    cells.counts[3, 1] = torch.inf
    with pytest.raises(TrainingError, match=r"epoch 1 of cellwise posteriors \(seed 4\)"):
        fit_cellwise(model, cells, CONFIG, seed=4)


def test_afterwards_the_encoder_learns_and_all_else_stays(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "start_from_rotation", lambda *_, **__: None)
    seen: list[dict[str, Tensor]] = []

    def watched(model: PerturbationVAE, *rest: object) -> object:
        result = fit_cellwise(model, *rest)  # type: ignore[arg-type]
        seen.append({k: v.clone() for k, v in model.state_dict().items()})
        return result

    monkeypatch.setattr(recipes, "fit_cellwise", watched)
    model, cells = make()
    (history,) = follow("cellwise", [Member(model, cells, cells, 3)], CONFIG)
    assert {record.phase for record in history.records} == {0, 1, 2, 3}
    assert history.best_record.phase == 3
    changed = {k for k, v in model.state_dict().items() if not torch.equal(seen[0][k], v)}
    assert changed
    assert all(name.startswith("encoder.") for name in changed)
    assert all(p.requires_grad for p in model.parameters())
    model.train()
    assert model.decoder.training


@pytest.fixture
def n_steps(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts steps of cells' posteriors; one that begins when none is "left" is the process's last."""
    counts = Counter(left=10**6)
    step = CellwiseRun._step

    def counted(self: CellwiseRun, index: Tensor, share: float) -> None:
        if counts["left"] == 0:
            raise KeyboardInterrupt
        counts.update(left=-1, done=1)
        step(self, index, share)

    monkeypatch.setattr(CellwiseRun, "_step", counted)
    return counts


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_what_was_interrupted_goes_on_from_the_last_epoch(
    make: Make, tmp_path: Path, n_steps: Counter[str], dropout: float
) -> None:
    def new() -> tuple[PerturbationVAE, Cells]:
        model, cells = make()
        for layer in model.decoder.hidden.layers:
            layer.dropout = dropout
        return model, cells

    whole, cells = new()
    run = fit_cellwise(whole, cells, CONFIG, seed=3)
    assert n_steps["done"] == 21  # seven epochs of three
    checkpoint = Checkpoint(tmp_path / "state.safetensors", interval=0.0)
    # in the middle of the fourth epoch; at the very beginning of the next that is done; to the end
    for left, finished in ((11, 3), (3, 4), (100, 7)):
        n_steps["left"] = left
        torch.manual_seed(left)
        model, cells = new()
        with suppress(KeyboardInterrupt):
            resumed = fit_cellwise(model, cells, CONFIG, seed=3, checkpoint=checkpoint)
        state = checkpoint.read()
        assert state is not None
        assert state[1]["epochs_done"] == finished
    assert n_steps["done"] == 21 + 11 + 3 + 9
    assert same([*model.state_dict().values()], [*whole.state_dict().values()])
    assert same([*vars(resumed.posteriors).values()], [*vars(run.posteriors).values()])
    # what is finished is not done again
    again, cells = new()
    last = fit_cellwise(again, cells, CONFIG, seed=3, checkpoint=checkpoint)
    assert n_steps["done"] == 44
    assert same([*again.state_dict().values()], [*whole.state_dict().values()])
    assert torch.equal(last.posteriors.mean, run.posteriors.mean)
    assert last.cpu_seconds == resumed.cpu_seconds > 0.0


def test_a_state_of_other_cells_is_not_gone_on_from(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = Checkpoint(tmp_path / "state.safetensors", interval=0.0)
    model, cells = make()
    fit_cellwise(model, cells, CONFIG, seed=3, checkpoint=checkpoint)
    fewer = cells.take(torch.arange(40))
    alone, again = make()[0], make()[0]
    fit_cellwise(alone, fewer, CONFIG, seed=3)
    fit_cellwise(again, fewer, CONFIG, seed=3, checkpoint=checkpoint)
    assert "is of another fit: this one starts anew" in caplog.text
    assert same([*again.state_dict().values()], [*alone.state_dict().values()])


@pytest.mark.parametrize("left", [1, 10])
def test_after_an_interruption_the_whole_ends_with_the_same_numbers(
    make: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    n_steps: Counter[str],
    left: int,
) -> None:
    monkeypatch.setattr(recipes, "start_from_rotation", lambda *_, **__: None)
    monkeypatch.setattr(Checkpoint, "is_due", lambda _checkpoint: True)
    whole, cells = make()
    (history,) = follow("cellwise", [Member(whole, cells, cells, 3)], CONFIG)
    n_steps["left"] = left
    for _ in range(2):  # stopped in the middle of the cells' posteriors, then to the end
        model, cells = make()
        with suppress(KeyboardInterrupt):
            (resumed,) = follow("cellwise", [Member(model, cells, cells, 3)], CONFIG, tmp_path)
        n_steps["left"] = 10**6
    assert resumed.records == history.records
    assert same([*model.state_dict().values()], [*whole.state_dict().values()])


def test_several_seeds_at_once_are_those_one_by_one(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "start_from_rotation", lambda *_, **__: None)
    alone = []
    for seed in (3, 4):
        model, cells = make()
        follow("cellwise", [Member(model, cells, None, seed)], CONFIG)
        alone.append(model)
    members = [Member(make()[0], make()[1], None, seed) for seed in (3, 4)]
    follow("cellwise", members, CONFIG)
    for one, member in zip(alone, members, strict=True):
        means = one.posterior(cells)[0], member.model.posterior(cells)[0]
        torch.testing.assert_close(*means, atol=0.05, rtol=0.05)
