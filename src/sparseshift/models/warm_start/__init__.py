"""Rotate, then refine: from a plain VAE to a start of the sparse model.

z given a perturbation is N(shift, I) up to a linear map: once whitened, only a rotation is
unknown, and that the shifts are sparse determines it (docs/decisions/0008-rotation.md).
"""
