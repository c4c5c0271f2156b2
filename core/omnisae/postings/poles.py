"""Poles: what each posting list belongs to. A latent whose codes may be negative stands for two things."""

from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from jaxtyping import Float, Int, Int64

Sign = Literal[1, -1]
Number = TypeVar("Number", bound="int | np.ndarray")


@dataclass(frozen=True, slots=True)
class Poles:
    """The posting lists of `latents` latents, by number.

    Unsigned: list l is latent l. Signed: list l is the positive pole of latent l, list `latents` + l its negative one,
    and values are magnitudes, so that whatever reads a list reads positive numbers. The two never share a token.
    """

    latents: int
    signed: bool = False

    def __len__(self) -> int:
        """How many lists there are."""
        return 2 * self.latents if self.signed else self.latents

    def of(
        self, latents: Int[np.ndarray, " entry"], values: Float[np.ndarray, " entry"]
    ) -> tuple[Int[np.ndarray, " entry"], Float[np.ndarray, " entry"]]:
        """The lists of a code's entries, and the values that stand there."""
        if not self.signed:
            return latents, values
        return np.where(values < 0, latents + self.latents, latents), np.abs(values)

    def latent(self, pole: Number) -> Number:
        """The latents that lists belong to."""
        return pole % self.latents  # type: ignore[return-value]

    def sign(self, pole: int) -> Sign | None:
        """The sign of a list's codes; None where codes are unsigned."""
        if not self.signed:
            return None
        return 1 if pole < self.latents else -1

    def at(self, latent: int, sign: int | None = None) -> int:
        """The list of a latent's codes with this sign."""
        return latent + self.latents if self.signed and sign == -1 else latent

    def facts(self, pole: int) -> dict[str, int]:
        """What files say of a list: `latent`, and `sign` where codes are signed."""
        sign = self.sign(pole)
        return {"latent": int(self.latent(pole))} | ({} if sign is None else {"sign": sign})

    def name(self, pole: int) -> int | str:
        """What pages and their links call a list: 17; 17+ and 17- where codes are signed."""
        sign = self.sign(pole)
        return pole if sign is None else f"{self.latent(pole)}{'+' if sign == 1 else '-'}"

    def other(self, pole: int) -> int | None:
        """The opposite pole of the same latent; None where codes are unsigned."""
        return (pole + self.latents) % len(self) if self.signed else None

    def per_latent(self, counts: Int64[np.ndarray, " pole"]) -> Int64[np.ndarray, " latent"]:
        """Counts of tokens by latent, from those by list."""
        return counts.reshape(-1, self.latents).sum(axis=0) if self.signed else counts

    def split(self) -> dict[Sign | None, slice]:
        """The lists of every sign, in the order of their latents; under None where codes are unsigned."""
        return {1: slice(self.latents), -1: slice(self.latents, None)} if self.signed else {None: slice(None)}

    def balance(self, counts: Int64[np.ndarray, " pole"]) -> Float[np.ndarray, " living"]:
        """The share of the rarer sign among the firings of each latent that fires: 0 to a half. Signed codes only."""
        both = counts.reshape(2, self.latents)
        fired = both.sum(axis=0)
        share: Float[np.ndarray, " living"] = both.min(axis=0)[fired > 0] / fired[fired > 0]
        return share
