"""Densities, masks and bounds: plain torch, nothing of ours below but the errors."""
