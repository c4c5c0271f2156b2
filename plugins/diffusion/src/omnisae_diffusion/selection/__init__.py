"""Which latents stand for a concept: the selections of SAeUron, ItD, SAEdit and Concept Steerers, and their tables."""
