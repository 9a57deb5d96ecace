"""Training decoder and prior with a posterior of its own for each cell (`models.cell_posteriors`)."""

import torch

from sparseshift.data.cells import CellSource
from sparseshift.errors import TrainingError
from sparseshift.models.cell_posteriors import CellPosteriors, cosine
from sparseshift.models.vae import PerturbationVAE
from sparseshift.probability.bounds import ElboTerms
from sparseshift.training.config import TrainingConfig
from sparseshift.training.encoded import encoded
from sparseshift.training.memory import undisturbed
from sparseshift.training.precision import products
from sparseshift.training.run import optimizer_of, survey
from sparseshift.training.threads import one_thread


@one_thread()
@undisturbed()
def fit_cellwise(
    model: PerturbationVAE, train: CellSource, config: TrainingConfig, seed: int
) -> CellPosteriors:
    """Maximises the ELBO over decoder, prior and the posteriors of all cells; the encoder stays.

    The posteriors start from the encoder's and take long steps at first: what a decoder that was trained
    with an encoder has bent is straightened by that, and hardly by short ones (docs/decisions/0013).
    No validation cells: an unseen cell has no posterior.

    Args:
        model: trained; its decoder, likelihood and prior are changed in place.
        train: the training cells.
        config: the settings of this phase.
        seed: of batches and noise.

    Raises:
        TrainingError: the loss is not finite.
    """
    with torch.random.fork_rng(), products(config.precision):
        posteriors = CellPosteriors(*encoded(model, train))
        generator = torch.Generator(device=model.device).manual_seed(seed)
        model.encoder.requires_grad_(False)
        optimizer = optimizer_of(model, config)
        steps_per_epoch = config.steps_per_epoch(train.n_cells)
        n_epochs = config.epochs(train.n_cells)
        _, peaks = survey(model, train)
        model.train()
        with model.likelihood.expecting(peaks):
            for epoch in range(n_epochs):
                share = cosine(epoch / n_epochs)
                order = torch.randperm(train.n_cells, generator=generator, device=model.device)
                for index in order.tensor_split(steps_per_epoch):
                    cells, own = train.take(index), posteriors.take(index)
                    mean, log_std = own.chunk(2, dim=1)
                    noise = model.draw_noise(cells, generator)
                    std = log_std.exp()
                    scores = model.decoder(mean + std * noise.latent, model.covariates(cells))
                    terms = ElboTerms(
                        model.likelihood.log_prob(cells.counts, scores),
                        model.prior.shift(cells, noise.shift).kl_divergence(mean, std),
                        model.prior.cost(train.n_cells),
                    )
                    loss = terms.negative_elbo(train.n_cells)
                    if not torch.isfinite(loss):
                        raise TrainingError(
                            f"Training stopped in epoch {epoch + 1} of cellwise posteriors (seed "
                            f"{seed}): the loss is not finite. Lower learning_rate or cellwise_rate."
                        )
                    (gradient,) = optimizer.step(loss, share, [own])
                    posteriors.descend(
                        index, gradient * cells.n_cells, config.cellwise_rate * share
                    )
        model.encoder.requires_grad_(True)
    return posteriors
