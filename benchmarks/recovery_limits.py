"""What keeps svae_plus from recovering latents better: the encoder, the decoder, or the data?

    python benchmarks/recovery_limits.py --data-seeds 0 1 2

On the `paper` simulator, 80 trained perturbations of 250 cells. Rungs of the ladder, each an MCC of the same cells:

- svae_plus: as it is; and the agreement of two model seeds with each other.
- true decoder, own posteriors: a decoder trained on the true latents, then a posterior for each cell fitted to it by
  gradient: what the data allow.
- true decoder, encoder of width W: the same decoder, an encoder trained by the ELBO with the true shifts.
- own posteriors from the true decoder: decoder and shifts are trained, too: where the ELBO leads from the truth.
- own posteriors, short steps: after svae_plus, a decoder of three layers without normalisation, trained together with
  effects and a posterior for each cell, which no encoder makes and which moves by .05 standard deviations at most.
- svae_plus_cellwise: what came of it, with steps of 1: its encoder, and its refined latents.

CPU seconds are of each rung alone, one thread.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

import sparseshift as ss
from sparseshift.evaluation.latent_matching import match_latents
from sparseshift.probability.poisson import softmax_log_prob

N_LATENTS, BATCH = 15, 256


@dataclass
class Screen:
    """Trained cells of a simulated screen as tensors, and the truth."""

    counts: Tensor
    label: Tensor
    latents: Tensor
    shifts: Tensor  # (perturbations, latents)

    def mcc(self, learnt: Tensor) -> float:
        """Against the true latents."""
        return match_latents(self.latents.numpy(), learnt.detach().numpy()).mcc

    def batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        """An epoch."""
        yield from torch.randperm(len(self.counts), generator=generator).split(BATCH)


def network(n_in: int, n_out: int, *, width: int, depth: int, normalised: bool) -> nn.Sequential:
    """Hidden layers with ReLU, then a linear one."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers.append(nn.Linear(n_in, width))
        if normalised:
            layers.append(nn.BatchNorm1d(width, momentum=0.01, eps=1e-3))
        layers.append(nn.ReLU())
        n_in = width
    return nn.Sequential(*layers, nn.Linear(n_in, n_out))


def decoder_for(screen: Screen) -> nn.Sequential:
    """Three layers without normalisation: with it, far more steps are needed."""
    return network(N_LATENTS, screen.counts.shape[1], width=128, depth=3, normalised=False)


def kl(mean: Tensor, log_std: Tensor, shift: Tensor) -> Tensor:
    """KL(N(mean, std^2) || N(shift, 1)), (cells,)."""
    return (0.5 * ((2 * log_std).exp() + (mean - shift) ** 2 - 1) - log_std).sum(1)


def train_on_true_latents(screen: Screen, n_epochs: int) -> nn.Sequential:
    """A decoder as good as one can be had from so many cells."""
    decoder, generator = decoder_for(screen), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(decoder.parameters(), 3e-3)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_epochs)
    for _ in range(n_epochs):
        for batch in screen.batches(generator):
            scores = decoder(screen.latents[batch])
            loss = -softmax_log_prob(screen.counts[batch], scores).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        cosine.step()
    return decoder


def encoder_under(screen: Screen, decoder: nn.Sequential, width: int, n_epochs: int) -> Tensor:
    """Posterior means of an encoder trained by the ELBO, decoder and shifts fixed."""
    encoder = network(screen.counts.shape[1], 2 * N_LATENTS, width=width, depth=2, normalised=True)
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(encoder.parameters(), 3e-3)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_epochs)
    shifts = screen.shifts[screen.label]
    for _ in range(n_epochs):
        for batch in screen.batches(generator):
            counts = screen.counts[batch]
            mean, log_std = encoder(counts.log1p()).chunk(2, dim=-1)
            z = mean + log_std.exp() * torch.randn(mean.shape, generator=generator)
            elbo = softmax_log_prob(counts, decoder(z)) - kl(mean, log_std, shifts[batch])
            optimizer.zero_grad()
            (-elbo.mean()).backward()
            optimizer.step()
        cosine.step()
    encoder.eval()
    with torch.no_grad():
        return encoder(screen.counts.log1p())[:, :N_LATENTS]


def own_posteriors(
    screen: Screen,
    decoder: nn.Sequential,
    start: Tensor,
    shifts: Tensor,
    n_epochs: int,
    *,
    learn: bool,
    rate: float = 0.05,
) -> Tensor:
    """Posterior means fitted cell by cell, by Adam's rule with one step an epoch.

    Args:
        screen: the cells.
        decoder: trained with the posteriors if `learn`.
        start: of the means, (cells, latents).
        shifts: (perturbations, latents); those that are not 0 are trained if `learn`.
        n_epochs: passes over the cells.
        learn: whether decoder and shifts are trained, too.
        rate: of the posteriors.
    """
    generator = torch.Generator().manual_seed(0)
    posterior = torch.cat([start, torch.full_like(start, -1.3)], dim=1)
    first, second = torch.zeros_like(posterior), torch.zeros_like(posterior)
    edges, table = shifts != 0, nn.Parameter(shifts.clone())
    optimizer = torch.optim.Adam([*decoder.parameters(), table], 3e-3 if learn else 0.0)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_epochs)
    for epoch in range(n_epochs):
        share = 0.5 * (1.0 + np.cos(np.pi * epoch / n_epochs))
        for batch in screen.batches(generator):
            own = posterior[batch].requires_grad_()
            mean, log_std = own.chunk(2, dim=1)
            z = mean + log_std.exp() * torch.randn(mean.shape, generator=generator)
            shift = (table * edges)[screen.label[batch]]
            elbo = softmax_log_prob(screen.counts[batch], decoder(z)) - kl(mean, log_std, shift)
            optimizer.zero_grad()
            (-elbo.mean()).backward()
            optimizer.step()
            with torch.no_grad():
                assert own.grad is not None
                gradient = own.grad * len(batch)
                first[batch] = 0.8 * first[batch] + 0.2 * gradient
                second[batch] = 0.95 * second[batch] + 0.05 * gradient**2
                size = (second[batch] / (1.0 - 0.95 ** (epoch + 1))).sqrt() + 1e-6
                step = first[batch] / (1.0 - 0.8 ** (epoch + 1)) / size
                posterior[batch] = own - rate * share * step
        cosine.step()
    return posterior[:, :N_LATENTS]


def rungs(data_seed: int, n_epochs: int) -> Iterator[tuple[str, float, float]]:
    """Name, MCC, CPU seconds."""
    simulated = ss.simulate("paper", seed=data_seed)
    trained = list(simulated.uns["perturbations"][:80])
    cells = simulated[simulated.obs["perturbation"].isin(trained)].copy()
    screen = Screen(
        torch.tensor(cells.X.toarray()),
        torch.tensor([trained.index(name) for name in cells.obs["perturbation"]]),
        torch.tensor(cells.obsm["z"]),
        torch.tensor(simulated.uns["shifts"][:80]),
    )
    torch.manual_seed(0)

    def timed(name: str, start: float, learnt: Tensor) -> tuple[str, float, float]:
        return name, screen.mcc(learnt), time.process_time() - start

    start = time.process_time()
    fits = [
        ss.fit(cells, "svae_plus", perturbation="perturbation", n_latents=N_LATENTS, seed=seed)
        for seed in (0, 1)
    ]
    found = [torch.tensor(model.latents(cells)) for model in fits]
    name, mcc, seconds = timed("svae_plus", start, found[0])
    yield name, mcc, seconds / 2
    yield "agreement of two seeds", match_latents(found[0].numpy(), found[1].numpy()).mcc, 0.0

    start = time.process_time()
    decoder = train_on_true_latents(screen, n_epochs=120)
    for parameter in decoder.parameters():
        parameter.requires_grad_(False)
    prior = screen.shifts[screen.label]
    learnt = own_posteriors(screen, decoder, prior, screen.shifts, 200, learn=False)
    yield timed("true decoder, own posteriors", start, learnt)
    for width in (128, 512):
        start = time.process_time()
        learnt = encoder_under(screen, decoder, width, n_epochs=60)
        yield timed(f"true decoder, encoder of width {width}", start, learnt)

    start = time.process_time()
    for parameter in decoder.parameters():
        parameter.requires_grad_(True)
    learnt = own_posteriors(screen, decoder, prior, screen.shifts, n_epochs, learn=True)
    yield timed(f"own posteriors from the true decoder, {n_epochs} epochs", start, learnt)

    start = time.process_time()
    inclusion = torch.tensor(fits[0].inclusion_probability().loc[trained].to_numpy()) > 0.5
    shifts = torch.tensor(fits[0].effects().loc[trained].to_numpy(dtype=np.float32)) * inclusion
    learnt = own_posteriors(screen, decoder_for(screen), found[0], shifts, n_epochs, learn=True)
    yield timed(f"own posteriors, short steps, {n_epochs} epochs", start, learnt)

    start = time.process_time()
    model = ss.fit(
        cells, "svae_plus_cellwise", perturbation="perturbation", n_latents=N_LATENTS, seed=0
    )
    yield timed("svae_plus_cellwise, encoder", start, torch.tensor(model.latents(cells, refine=0)))
    yield timed("svae_plus_cellwise", start, torch.tensor(model.latents(cells)))


def main() -> None:
    """Prints a line a rung."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=240, help="of own posteriors")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for data_seed in arguments.data_seeds:
        for name, mcc, seconds in rungs(data_seed, arguments.epochs):
            print(
                f"data seed {data_seed}  {name:52} MCC {mcc:.3f}  {seconds:5.0f} CPU s", flush=True
            )


if __name__ == "__main__":
    main()
