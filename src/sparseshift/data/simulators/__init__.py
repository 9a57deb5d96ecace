"""Simulated screens with known latents and known targets, as arrays."""
