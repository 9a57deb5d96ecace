"""How a fit is put together of phases: at once, rotate then refine, or as the public code does."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sparseshift.models.adaptation import with_new_rows
from sparseshift.models.masks import BernoulliMask
from sparseshift.models.priors import ShiftPrior, StandardNormalPrior
from sparseshift.models.vae import PerturbationVAE
from sparseshift.training.cellwise import fit_cellwise
from sparseshift.training.checkpoint import Checkpoint
from sparseshift.training.config import TrainingConfig
from sparseshift.training.finished import read_finished, write_finished
from sparseshift.training.history import History
from sparseshift.training.phase import Member, one_after_another, train_phase
from sparseshift.training.rotation_start import start_from_rotation
from sparseshift.training.several_starts import train_best_start

RECIPES = ("plain", "rotation", "rotation_only", "cellwise")


def follow(
    recipe: str, members: Sequence[Member], config: TrainingConfig, directory: Path | None = None
) -> list[History]:
    """Trains models by a recipe.

    Args:
        recipe: "plain"; "rotation": a plain VAE, its rotation, then the model itself from there, rotated
            again half-way; "rotation_only": without the model itself; "cellwise": "rotation", then decoder
            and prior with a posterior for each cell, then the encoder anew. After any of them, where
            `config.freeze_graph` asks for it, on again with the graph fixed.
        members: one model, or several of the same shape that are trained as one (`many_seeds`).
        config: the settings of the whole.
        directory: where the state of a single fit is kept, so that it goes on from there, and one
            that was finished is not repeated; None: nowhere.
    """
    if directory is None:
        return _train(recipe, members, config, None)
    (member,) = members
    kept = read_finished(directory)
    if kept is None:
        (history,) = _train(recipe, members, config, directory)
        write_finished(directory, member.model.state_dict(), history)
        return [history]
    if config.freeze_graph:
        freeze_graph(member.model)
    member.model.load_state_dict(kept.weights)
    return [kept.history]


def _train(
    recipe: str, members: Sequence[Member], config: TrainingConfig, directory: Path | None
) -> list[History]:
    if recipe in ("rotation", "rotation_only"):
        histories = _rotation(members, config, directory, refine=recipe == "rotation")
    elif recipe == "cellwise":
        histories = _cellwise(members, config, directory)
    else:
        histories = train_phase(members, "phase_0", config, directory)
    return (
        _frozen(recipe, histories, members, config, directory)
        if config.freeze_graph
        else histories
    )


def _frozen(
    recipe: str,
    histories: list[History],
    members: Sequence[Member],
    config: TrainingConfig,
    directory: Path | None,
) -> list[History]:
    for member in members:
        freeze_graph(member.model)
    # as published, the KL weight rises anew; after a rotation that would undo what was refined
    again = config if recipe == "plain" else replace(config, kl_warmup=0.0)
    number = histories[0].records[-1].phase + 1
    return one_after_another(histories, train_phase(members, f"phase_{number}", again, directory))


def _rotation(
    members: Sequence[Member], config: TrainingConfig, directory: Path | None, *, refine: bool
) -> list[History]:
    share = config.warm_start_share if refine else 1.0
    plain = [
        member._replace(model=with_new_rows(member.model, _no_shift(member.model)))
        for member in members
    ]
    # a slow ramp that ends low: with a fast one, latents collapse and are lost
    ramp = replace(config.part(share), kl_warmup=1.0, kl_weight=config.warm_start_kl_weight)
    histories = train_best_start(plain, "phase_0", ramp, directory)
    if not refine:
        _rotate(members)
        return histories
    # A latent of which the plain VAE knows little is rotated wrongly, and another one with it. Half-way
    # through the refinement it is known better, and rotating again sets both right.
    half = replace(config.part(0.5 * (1.0 - share)), kl_warmup=0.0)
    for number in (1, 2):
        _rotate(members, last=number == 2)
        histories = one_after_another(
            histories, train_phase(members, f"phase_{number}", half, directory)
        )
    return histories


def _cellwise(
    members: Sequence[Member], config: TrainingConfig, directory: Path | None
) -> list[History]:
    histories = _rotation(members, config, directory, refine=True)
    by_cell = config.part(config.cellwise_share)
    checkpoint = None if directory is None else Checkpoint(directory / "cellwise.safetensors")
    seconds = []
    for member in members:
        member.model.decoder.held = True  # noise between the cells of a batch would bend it
        run = fit_cellwise(member.model, member.train, by_cell, member.seed, checkpoint)
        seconds.append(run.cpu_seconds)
        for part in (member.model.decoder, member.model.likelihood, member.model.prior):
            part.requires_grad_(False)
    learn = replace(config.part(config.cellwise_encoder_share), kl_warmup=0.0)
    histories = one_after_another(histories, train_phase(members, "phase_3", learn, directory))
    for member in members:
        member.model.decoder.held = False
        member.model.requires_grad_(True)
    return [
        history._replace(cpu_seconds=history.cpu_seconds + own)
        for history, own in zip(histories, seconds, strict=True)
    ]


def _rotate(members: Sequence[Member], *, last: bool = True) -> None:
    for member in members:
        start_from_rotation(member.model, member.train, member.seed, last=last)


def _no_shift(model: PerturbationVAE) -> StandardNormalPrior:
    return StandardNormalPrior(*model.prior.effect().shape)


def freeze_graph(model: PerturbationVAE) -> None:
    """Fixes which edges there are, at no further cost, where masks were learnt."""
    if isinstance(model.prior, ShiftPrior) and isinstance(model.prior.mask, BernoulliMask):
        model.prior.mask.freeze()
