"""Drawings of the latents of a recommender."""
