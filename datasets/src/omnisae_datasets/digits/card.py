"""What the classifier sees in pictures whose label is known, and the files of a model with its card."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from torch import Tensor

from omnisae_datasets.digits.inks import INKS


@dataclass(frozen=True)
class Seen:
    """The digit and the ink that the classifier sees in pictures, beside the label that they should have."""

    label: Int[np.ndarray, " picture"]
    digit: Int[np.ndarray, " picture"]
    ink: Int[np.ndarray, " picture"]

    def shares(self, rows: Any = slice(None)) -> dict[str, float]:
        """Of these pictures the shares in which the digit, the ink, and both are right."""
        digit = (self.digit == self.label // len(INKS))[rows]
        ink = (self.ink == self.label % len(INKS))[rows]
        found = {"digit": digit, "ink": ink, "both": digit & ink}
        return {name: round(float(right.mean()), 4) for name, right in found.items()}

    def card(self) -> dict[str, Any]:
        """As a card in JSON holds it: of all pictures, by digit, by ink."""
        by_digit = {str(digit): self.shares(self.label // len(INKS) == digit) for digit in range(10)}
        by_ink = {name: self.shares(self.label % len(INKS) == ink) for ink, name in enumerate(INKS)}
        return {"pictures": len(self.label), "right": self.shares(), "digits": by_digit, "inks": by_ink}

    def told(self) -> str:
        """As a card in Markdown tells it."""
        card = self.card()
        rows = {"all": card["right"], **card["digits"], **card["inks"]}
        lines = [f"| {name} | {' | '.join(f'{share:.3f}' for share in row.values())} |" for name, row in rows.items()]
        return "\n".join(["| pictures | digit right | ink right | both |", "|---|---|---|---|", *lines, ""])


def save(
    out: Path,
    name: str,
    key: str,
    about: dict[str, Any],
    tensors: dict[str, Tensor],
    steps: dict[str, Any],
    quality: dict[str, Any],
    text: str,
) -> None:
    """`<name>.safetensors` with `about` as JSON in its metadata under `key`; its card in JSON, and in Markdown: `text`
    with the recipe's steps where it says RECIPE."""
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    weights = out / f"{name}.safetensors"
    save_file(tensors, weights, metadata={key: json.dumps(about, sort_keys=True)})
    weights.chmod(0o644)  # the library keeps files to their owner
    card = {**about, "recipe": steps, "quality": quality}
    (out / f"{name}.json").write_text(json.dumps(card, indent=1) + "\n")
    recipe = "\n".join(f"- {step}: {value}" for step, value in steps.items())
    (out / f"{name}.md").write_text(text.replace("RECIPE", recipe))


NAMES = (*(f"digit={digit}" for digit in range(10)), *(f"ink={ink}" for ink in INKS))
"""What the classifier's outputs are called."""
