"""Drawings of a latent over the steps of a denoiser, and of what edits do to its pictures."""
