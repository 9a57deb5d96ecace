"""How published files name perturbations, controls, guides, batches and genes, and which way a file does."""
