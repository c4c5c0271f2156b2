"""Which part of an autoencoder one process holds, where several hold it together."""

from dataclasses import dataclass

from omnisae.autoencoders.group import ALONE, Group
from omnisae.autoencoders.nesting import Nesting


@dataclass(frozen=True, slots=True)
class Shard:
    """One process's part of every autoencoder's latents, and its share of every batch's tokens.

    `over_latents` are the processes that hold the other latents and see the same tokens; `over_tokens` those that hold
    the same latents and see the batch's other tokens. A sum "over latents" makes whole what each has only its latents'
    part of. What is not divided by latents (the decoder's bias, the normaliser) is the same on every process.
    """

    over_latents: Group = ALONE
    over_tokens: Group = ALONE

    @property
    def divided(self) -> bool:
        """Whether others hold latents of the same autoencoder."""
        return self.over_latents.size > 1

    def held(self, latents: int, rank: int | None = None) -> slice:
        """The latents of an autoencoder of so many that this process holds, or the one of the given rank: as evenly as
        they can be divided, in the order of the ranks.
        """
        at, size = self.over_latents.rank if rank is None else rank, self.over_latents.size
        return slice(latents * at // size, latents * (at + 1) // size)

    def nesting(self, whole: Nesting) -> Nesting:
        """The prefixes as they are seen from here: how many of the latents held lie in each; some may hold none."""
        if not self.divided:
            return whole
        here = self.held(whole.prefixes[-1])
        return whole.cut(here.start, here.stop)


WHOLE = Shard()
