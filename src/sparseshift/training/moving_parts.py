"""What moves from step to step in any fit, by name: weights, optimiser, random states."""

import torch
from torch import Tensor

from sparseshift.models.vae import PerturbationVAE
from sparseshift.training.optimizer import FlatAdam


def take_moving_parts(
    model: PerturbationVAE, optimizer: FlatAdam, generator: torch.Generator
) -> dict[str, Tensor]:
    """All that `put_moving_parts` needs; weights and moments are not copied.

    Args:
        model: its weights and running statistics.
        optimizer: its moments.
        generator: of batches and noise; that of torch itself, which dropout draws from, is taken as well.
    """
    tensors = {f"model/{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"optimizer/{name}": value for name, value in optimizer.state().items()}
    tensors |= {"generator": generator.get_state(), "torch_rng": torch.get_rng_state()}
    if model.device.type == "cuda":
        tensors["cuda_rng"] = torch.cuda.get_rng_state(model.device)
    return tensors


def put_moving_parts(
    tensors: dict[str, Tensor],
    model: PerturbationVAE,
    optimizer: FlatAdam,
    generator: torch.Generator,
) -> None:
    """Goes back to what `take_moving_parts` gave."""
    model.load_state_dict(under(tensors, "model/"))
    optimizer.load(under(tensors, "optimizer/"))
    generator.set_state(tensors["generator"])
    torch.set_rng_state(tensors["torch_rng"])
    if model.device.type == "cuda":
        torch.cuda.set_rng_state(tensors["cuda_rng"], model.device)


def under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names begin so, by the rest of their names."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
