"""Controls of an edit: the same tokens moved as far, in another direction."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from omnisae.autoencoders.codes import Codes
from omnisae.interventions.operation import Operation, Tokens
from omnisae.interventions.sae import SAE
from omnisae.interventions.sparse import block_of, changed, take, with_block
from omnisae.postings.poles import Sign

Direction = Callable[[SAE, Codes], Float[Tensor, "token width"]]
"""Unit vectors, one a token, out of the tokens' codes."""


@contextmanager
def pushed(sae: SAE, model: nn.Module, operation: Operation, direction: Direction) -> Iterator[None]:
    """Edit as `sae.edit(model, operation)` would, but along `direction`: every token that the operation moves is moved
    by the same length, x' = x + ‖decode(z') − decode(z)‖ · u. Raises as `SAE.edit` does."""
    sae.attach(model)
    (prepared,) = sae.prepared([operation])

    def change(x: Float[Tensor, "token width"], tokens: Tokens) -> tuple[Tensor, Tensor]:
        old = sae.encode(x, check=False)
        new = prepared.apply(old, tokens)
        rows = changed(old, new).nonzero()[:, 0]
        before = take(old, rows)
        moved = sae.decode(take(new, rows)) - sae.decode(before)
        return rows, moved.norm(dim=1, keepdim=True) * direction(sae, before).to(moved)

    with sae.editing(model, change, delta=True):
        yield


def at_random(generator: torch.Generator, width: int) -> Direction:
    """One direction for all tokens, drawn evenly from all there are."""
    drawn = torch.nn.functional.normalize(torch.randn(width, generator=generator), dim=0)
    return lambda _, codes: drawn.to(codes.values.device).expand(len(codes), -1)


def along(latent: int, sign: Sign | None, towards: int) -> Direction:
    """The direction in which the decoder writes another latent, or (`towards` −1) takes it away."""
    step = float(towards) * (-1.0 if sign == -1 else 1.0)

    def direction(sae: SAE, codes: Codes) -> Float[Tensor, "token width"]:
        # By a difference of decodings, so that a normaliser that each token undoes its own way is undone.
        more = with_block(codes, [latent], block_of(codes, [latent]) + 1.0)
        return torch.nn.functional.normalize(sae.decode(more) - sae.decode(codes), dim=1) * step

    return direction
