"""What is asked of the latents of a recommender."""
