"""The phases of a fit."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from sparseshift.data.cells import Cells
from sparseshift.data.design import Design
from sparseshift.models.adaptation import with_new_rows
from sparseshift.models.masks import BernoulliMask
from sparseshift.models.priors import ShiftPrior, StandardNormalPrior
from sparseshift.models.vae import PerturbationVAE
from sparseshift.training import phase, recipes
from sparseshift.training.config import TrainingConfig
from sparseshift.training.history import History
from sparseshift.training.loop import fit
from sparseshift.training.many_seeds import fit_together
from sparseshift.training.phase import Member

LABELS = ("control", "A", "B", "A+B")
MakeCells = Callable[..., Cells]
MakeDesign = Callable[..., Design]
MakeModel = Callable[..., PerturbationVAE]


class Job(NamedTuple):
    """What a fit of a single model is given."""

    train: Cells
    validation: Cells | None
    config: TrainingConfig
    seed: int
    directory: Path | None


def follow(recipe: str, model: PerturbationVAE, job: Job) -> History:
    """A recipe for a single model."""
    member = Member(model, job.train, job.validation, job.seed)
    (history,) = recipes.follow(recipe, [member], job.config, job.directory)
    return history


CONFIG = TrainingConfig(steps=20, batch_size=24, n_evaluations=5)
FROZEN = replace(CONFIG, freeze_graph=True)


@pytest.fixture(name="make")
def make_model_and_job(
    make_cells: MakeCells, make_design: MakeDesign, make_model: MakeModel
) -> Callable[..., tuple[PerturbationVAE, Job]]:
    """A model in single precision, and the job of training it."""

    def make(
        preset: str, config: TrainingConfig = CONFIG, directory: Path | None = None
    ) -> tuple[PerturbationVAE, Job]:
        design = make_design(preset, LABELS)
        train, validation = (
            Cells(c.counts.float(), c.label, c.batch, c.design.float())
            for c in (make_cells(design, LABELS, n_cells=n, seed=n) for n in (48, 16))
        )
        model = make_model(preset, LABELS).float()
        return model, Job(train, validation, config, 3, directory)

    return make


Make = Callable[..., tuple[PerturbationVAE, Job]]


@pytest.mark.parametrize("preset", ["vae", "svae", "sams_vae", "conditional_vae"])
def test_plain_is_one_fit(preset: str, make: Make) -> None:
    model, job = make(preset)
    twin, _ = make(preset)
    history = follow("plain", model, job)
    again = fit(twin, job.train, job.validation, job.config, job.seed)
    assert history.records == again.records
    for a, b in zip(model.state_dict().values(), twin.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("preset", ["paper.ivae", "paper.svae", "paper.svae_plus"])
def test_the_protocol_of_the_paper_freezes_the_graph_and_trains_again(
    preset: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, job = make(preset, FROZEN)
    graphs = []

    def watched(
        model: PerturbationVAE,
        train: Cells,
        validation: Cells | None,
        config: TrainingConfig,
        *_: object,
    ) -> History:
        assert config == job.config
        trainable = {name for name, p in model.named_parameters() if p.requires_grad}
        before = model.prior.inclusion_probability().detach().clone()
        history = fit(model, train, validation, config, job.seed)
        after = model.prior.inclusion_probability().detach().clone()
        graphs.append((trainable, before, after, model.prior.cost(48).item()))
        return history

    monkeypatch.setattr(phase, "fit", watched)
    history = follow("plain", model, job)
    assert {record.phase for record in history.records} == {0, 1}
    assert history.best_record.phase == 1
    (first, start, learnt, _), (second, frozen, end, cost) = graphs
    assert first - second == {"prior.mask.logit"}
    assert not torch.equal(start, learnt)
    torch.testing.assert_close(frozen, (learnt > 0.5).float(), atol=1e-6, rtol=0)
    assert torch.equal(frozen, end)
    assert cost == 0.0
    assert isinstance(model.prior, ShiftPrior)
    assert isinstance(model.prior.mask, BernoulliMask)


def stub_rotation(
    monkeypatch: pytest.MonkeyPatch,
) -> list[tuple[PerturbationVAE, dict[str, torch.Tensor]]]:
    """Records the model that would be rotated, and its weights, instead of rotating it."""
    seen: list[tuple[PerturbationVAE, dict[str, torch.Tensor]]] = []

    def start(model: PerturbationVAE, train: Cells, seed: int, *, last: bool) -> None:
        assert train.n_cells == 48
        assert seed == 3
        del last
        seen.append((model, {k: v.clone() for k, v in model.state_dict().items()}))

    monkeypatch.setattr(recipes, "start_from_rotation", start)
    return seen


def test_a_rotation_recipe_trains_a_vae_rotates_it_and_refines(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainingConfig(
        steps=20,
        batch_size=24,
        warm_start_share=0.3,
        warm_start_kl_weight=0.25,
        n_evaluations=50,
        patience=99,
    )
    model, job = make("svae_plus", config)
    twin, _ = make("svae_plus", config)
    rotated = stub_rotation(monkeypatch)
    history = follow("rotation", model, job)
    steps = [(r.phase, r.step) for r in history.records]
    assert max(step for phase, step in steps if phase == 0) == 6
    assert max(step for phase, step in steps if phase == 1) == 8
    assert max(step for phase, step in steps if phase == 2) == 8
    # the plain VAE: a slow ramp that ends low; the shifts wait
    ramp = [r.kl_weight for r in history.records if r.phase == 0]
    assert ramp == sorted(ramp)
    assert 0.2 < ramp[-1] < 0.25
    assert [r.penalty for r in history.records if r.phase == 0] == [0.0] * len(ramp)
    assert {r.kl_weight for r in history.records if r.phase > 0} == {1.0}
    (same, state), (again, refined) = rotated
    assert same is again is model
    # the second rotation is of the refined model
    assert all(not torch.equal(state[name], refined[name]) for name, _ in model.named_parameters())
    for name, value in twin.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        moved = not torch.equal(state[name], value)
        assert moved != name.startswith("prior."), name
    # and it is a fit of the standard normal prior
    plain = fit(
        with_new_rows(twin, StandardNormalPrior(2, 3)),
        job.train,
        job.validation,
        replace(config, steps=6, kl_warmup=1.0, kl_weight=0.25),
        job.seed,
    )
    assert history.records[: len(plain.records)] == plain.records


def test_a_rotated_vae_is_not_refined(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    model, job = make("rotated_vae")
    rotated = stub_rotation(monkeypatch)
    history = follow("rotation_only", model, job)
    assert {r.phase for r in history.records} == {0}
    assert history.records[-1].step == 20
    ((_, state),) = rotated
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())


@pytest.mark.parametrize("recipe", ["rotation", "rotation_only"])
def test_after_a_rotation_the_graph_can_be_frozen_too(
    recipe: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub_rotation(monkeypatch)
    model, job = make("svae_plus", FROZEN)
    configs, frozen = [], []

    def watched(
        model: PerturbationVAE, train: Cells, validation: Cells, config: TrainingConfig, *_: object
    ) -> History:
        configs.append(config)
        frozen.append(not dict(model.named_parameters())["prior.mask.logit"].requires_grad
                      if isinstance(model.prior, ShiftPrior) else False)  # fmt: skip
        return fit(model, train, validation, config, job.seed)

    monkeypatch.setattr(phase, "fit", watched)
    history = follow(recipe, model, job)
    n_before = {"rotation": 3, "rotation_only": 1}[recipe]
    assert frozen == [False] * n_before + [True]
    assert configs[-1] == replace(FROZEN, kl_warmup=0.0)
    assert history.records[-1].phase == n_before
    inclusion = model.prior.inclusion_probability()
    assert ((inclusion < 1e-6) | (inclusion > 1.0 - 1e-6)).all()
    assert model.prior.cost(48).item() == 0.0


@pytest.mark.parametrize("config", [CONFIG, FROZEN], ids=["once", "frozen"])
@pytest.mark.parametrize("preset", ["svae", "paper.svae"])
def test_a_finished_fit_is_one_small_state_and_not_repeated(
    preset: str,
    config: TrainingConfig,
    make: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, job = make(preset, config, directory=tmp_path / "state")
    history = follow("plain", model, job)
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["finished.safetensors"]
    # the same job again does no step
    again, _ = make(preset, config)

    def never(*_: object) -> None:
        raise AssertionError("a finished phase was trained again")

    monkeypatch.setattr(PerturbationVAE, "elbo_terms", never)
    assert follow("plain", again, job) == history
    for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)


STARTS = replace(CONFIG, warm_starts=3)


def test_of_several_starts_the_one_with_the_best_objective_goes_on(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[tuple[int, History, dict[str, torch.Tensor]]] = []

    def watched(model: PerturbationVAE, *arguments: Any) -> History:
        began.append({k: v.clone() for k, v in model.state_dict().items()})
        history = fit(model, *arguments)
        tried.append(
            (arguments[3], history, {k: v.clone() for k, v in model.state_dict().items()})
        )
        return history

    began: list[dict[str, torch.Tensor]] = []
    monkeypatch.setattr(phase, "fit", watched)
    rotated = stub_rotation(monkeypatch)
    model, job = make("rotated_vae", STARTS)
    history = follow("rotation_only", model, job)
    assert len(tried) == 3
    assert tried[0][0] == job.seed  # the first start is the fit that a single one would be
    assert len({seed for seed, _, _ in tried}) == 3
    for state in began[1:]:  # all from the same weights, statistics of the normalisation included
        assert all(torch.equal(state[name], value) for name, value in began[0].items())
    objectives = [each.objective_at(STARTS.warm_start_kl_weight) for _, each, _ in tried]
    assert len(set(objectives)) == 3
    _, best, weights = tried[min(range(3), key=objectives.__getitem__)]
    assert history.records == best.records
    assert history.cpu_seconds == pytest.approx(sum(each.cpu_seconds for _, each, _ in tried))
    ((_, state),) = rotated
    for name, value in weights.items():
        if not name.startswith("prior."):
            assert torch.equal(state[name], value), name


def test_several_starts_of_several_models(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each model keeps the best of its own starts."""
    tried: list[list[float]] = []

    def watched(runs: Any) -> list[History]:
        histories = fit_together(runs)
        tried.append([each.objective_at(STARTS.warm_start_kl_weight) for each in histories])
        return histories

    monkeypatch.setattr(phase, "fit_together", watched)
    monkeypatch.setattr(recipes, "start_from_rotation", lambda *_, **__: None)
    model, job = make("rotated_vae", STARTS)
    twin, _ = make("rotated_vae", STARTS)
    members = [
        Member(each, job.train, job.validation, seed) for each, seed in ((model, 3), (twin, 4))
    ]
    histories = recipes.follow("rotation_only", members, STARTS)
    assert len(tried) == 3
    for history, objectives in zip(histories, zip(*tried, strict=True), strict=True):
        assert history.objective_at(STARTS.warm_start_kl_weight) == min(objectives)


@pytest.mark.parametrize("done", [1, 2, 3, 4])
def test_a_fit_stopped_between_its_starts_goes_on_with_the_same_numbers(
    done: int, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, job = make("svae_plus", STARTS)
    expected = follow("rotation", whole, job)
    model, job = make("svae_plus", STARTS, directory=tmp_path / "state")
    begun = 0

    def interrupted(*arguments: Any) -> History:
        nonlocal begun
        begun += 1
        if begun > done:
            raise KeyboardInterrupt
        return fit(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(phase, "fit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            follow("rotation", model, job)
    again, _ = make("svae_plus", STARTS)
    history = follow("rotation", again, job)
    assert history.records == expected.records
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["finished.safetensors"]
    for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)
