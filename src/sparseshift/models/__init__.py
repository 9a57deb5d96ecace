"""What is believed about the cells: networks, latent priors, and the one VAE around them."""
