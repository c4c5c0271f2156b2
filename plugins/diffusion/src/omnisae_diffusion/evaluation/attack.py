"""An adversarial search against an erased concept, beside the same search on the unedited model and on a control."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from omnisae.interventions.operation import Operation
from omnisae_diffusion.adversarial import Budget, attacks
from omnisae_diffusion.asks import Ask
from omnisae_diffusion.candidates import Candidate, Space
from omnisae_diffusion.evaluation.erasing import Choice
from omnisae_diffusion.evaluation.studio import Studio
from omnisae_diffusion.plugin_studies import AttackConfig


def attacked(studio: Studio, choice: Choice, config: AttackConfig) -> list[dict[str, Any]]:
    """Rows of a table: how often a search over noise and prompts brings the concept back, by model. Its own prompts are
    among those that may be chosen: they are what it was erased from."""
    asks = {(ask.text or f"label {ask.label}"): ask for ask in studio.prompts.asks}
    space = Space(studio.extractor.process.noise_shape, tuple(asks), mix=False)
    known = list(asks.values())

    def pictures(*operations: Operation) -> Any:
        def generate(candidates: Sequence[Candidate]) -> np.ndarray:
            noise = torch.from_numpy(np.stack([one.noise for one in candidates]))
            wanted = [_asked(known, one) for one in candidates]
            process = studio.extractor.process
            if not operations:
                return process.generate(wanted, noise=noise)
            with studio.sae.edit(studio.extractor.model, *operations):
                return process.generate(wanted, noise=noise)

        return generate

    concept = choice.concept
    found = attacks(
        {"erased": pictures(choice.operation()), "unedited": pictures(), "random latents": pictures(choice.random())},
        lambda made: studio.classifier.score(concept.domain, concept.name, np.asarray(made)),
        space,
        Budget(config.generations, min(config.generations, studio.extractor.batch_size()), threshold=config.threshold),
        restarts=config.restarts,
        seed=studio.material.seed,
    )
    return [
        {
            "model": name,
            "concept": str(concept),
            "brought back": attack.rate(config.generations).value,
            "searches": attack.rate(config.generations).n,
            "pictures a search": config.generations,
            "at the first draw": attack.unaided.value,
            "draws": attack.unaided.n,
            "best probability": attack.best[0][0],
        }
        for name, attack in found.items()
    ]


def _asked(known: Sequence[Ask], candidate: Candidate) -> Ask:
    weights = candidate.weights
    return known[0 if weights is None else int(np.argmax(weights))]
