"""MMDiT, VAE, condition encoder, trainer and the miniature world."""
