"""Artifacts at work in their model: attached where they belong, and editing it token by token."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Self
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from omnisae.autoencoders.about import ArtifactInfo
from omnisae.autoencoders.artifact import Artifact
from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.autoencoders.codes import Codes
from omnisae.errors import ArtifactError, HookError
from omnisae.hooks.edit import edit
from omnisae.hooks.fingerprint import fingerprint
from omnisae.hooks.paths import module_at
from omnisae.hooks.told import placed, telling
from omnisae.interventions.operation import Known, Operation, Tokens
from omnisae.interventions.sparse import changed, take
from omnisae.plugins.kinds import InterventionConfig
from omnisae.tokens.arrange import Arranged, flatten, restore

Change = Callable[[Tensor, Tokens], tuple[Tensor, Tensor]]
"""From the kept tokens' activations to the rows among them that change and what they become (or gain)."""


def load(path: Path | str, verify: bool = True) -> "SAE":
    """The artifact in this folder. Raises ArtifactError where it is missing, damaged, or of a newer schema."""
    return SAE.load(path, verify)


class SAE(Artifact):
    """An artifact that can be attached to its model and edit it."""

    def __init__(
        self, autoencoder: Autoencoder, info: ArtifactInfo, statistics: Mapping[str, Tensor], path: Path
    ) -> None:
        super().__init__(autoencoder, info, statistics, path)
        self._attached: WeakKeyDictionary[nn.Module, tuple[int, int]] = WeakKeyDictionary()

    def attach(self, model: nn.Module, *, allow_other_model: bool = False) -> Self:
        """Check that this artifact belongs to a model: the fingerprint of its weights, the layer, and that hooks reach
        it. `allow_other_model` waives the fingerprint alone.

        Raises ArtifactError with the reason where it does not belong there.
        """
        where = self._attached.get(model)
        if where is not None and where == _stamp(model):
            return self
        hook = self.info.hook
        if self.info.parent is None:
            raise ArtifactError(
                f"{self.path} was trained on a table ({hook.name!r}), not on a model's layer",
                "only artifacts of a model's hook point can be attached; use encode and decode",
            )
        found = None if allow_other_model else fingerprint(model)
        if found is not None and found != self.info.parent:
            raise ArtifactError(
                f"{self.path} belongs to another model: it was trained on {self.info.parent[:16]}…, and this "
                f"{type(model).__name__} is {found[:16]}… (a hash of names, shapes, dtypes and values of all weights)",
                "give the very model, in the same precision, or allow_other_model=True if you know that it fits",
            )
        for path in hook.at:
            try:
                module_at(model, path)
            except HookError as error:
                raise ArtifactError(
                    f"{self.path} cannot be attached at {path!r}: {error.problem}", error.remedy
                ) from None
        self._attached[model] = _stamp(model)
        return self

    @contextmanager
    def edit(
        self,
        model: nn.Module,
        *operations: Operation | InterventionConfig,
        error: bool = True,
        replace: bool = False,
        allow_other_model: bool = False,
    ) -> Iterator[None]:
        """Edit the model at the hook point in every forward within the block, on the tokens that the `edit` filter
        keeps (its share, if any, is drawn by the example's place in the batch).

        x' = x + decode(z') − decode(z), where z are the token's codes and z' what the operations make of them, one
        after the other: what the autoencoder does not explain stays, and a token whose codes do not change keeps its
        bits. With `error=False` tokens whose codes change become decode(z'); with `replace=True` all kept tokens do,
        changed or not. Hooks are removed on every way out.

        Raises ArtifactError where the artifact does not belong to the model (see `attach`), ConfigError where an
        operation does not fit the artifact.
        """
        self.attach(model, allow_other_model=allow_other_model)
        prepared = self.prepared(operations)

        def change(x: Tensor, tokens: Tokens) -> tuple[Tensor, Tensor]:
            old = self.encode(x, check=False)
            new = _through(prepared, old, tokens)
            if replace:
                return torch.arange(len(x), device=x.device), self.decode(new)
            rows = changed(old, new).nonzero()[:, 0]
            after = self.decode(take(new, rows))
            return rows, after - self.decode(take(old, rows)) if error else after

        with self.editing(model, change, delta=error and not replace):
            yield

    @property
    def known(self) -> Known:
        """What operations are checked against."""
        hook = self.info.hook
        return Known(
            self.autoencoder.latents,
            hook.axes,
            self.statistics,
            self.signed,
            ticks=hook.ticks,
            sizes=hook.known_sizes,
            identity=lambda: self.identity,
            encode=lambda x: self.encode(x, check=False),
            decode=self.decode,
        )

    @cached_property
    def identity(self) -> str:
        """A hash of the autoencoder's weights: the same for every copy of the artifact, another after training anew."""
        return fingerprint(self.autoencoder)

    def prepared(self, operations: Sequence[Operation | InterventionConfig]) -> list[Operation]:
        """Operations that fit this artifact, built from their configs where that is what is given.

        Raises ConfigError or ArtifactError where one does not fit.
        """
        built = [one.build() if isinstance(one, InterventionConfig) else one for one in operations]
        return [one.prepared(self.known) for one in built]

    @contextmanager
    def editing(self, model: nn.Module, change: Change, *, delta: bool) -> Iterator[None]:
        """Edit the kept tokens at the hook point by a function of their activations and places. It gives the rows that
        change and their new activations, or with `delta` what is added to them; the others keep their bits."""

        hook = self.info.hook
        steps = {name: len(told.ticks) for name, told in hook.told.items()}

        def new(tensor: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
            tokens, given = placed(flatten(tensor, hook.layout), hook, told)
            kept = self._kept(tokens)
            # No narrower than either side, so that what stays keeps its bits.
            wide = torch.promote_types(tokens.values.dtype, self.autoencoder.decoder.dtype)
            values = tokens.values.to(wide)
            place = Tokens(tokens.example, tokens.coords, tokens.role, hook.axes, given, values, steps | tokens.sizes)
            rows, activations = change(values[kept], place.take(kept))
            full = torch.zeros_like(values) if delta else values.clone()
            full[kept[rows]] = activations.to(wide)
            own = full[:, : full.shape[1] - len(hook.columns)] if hook.columns else full
            return restore(own, hook.layout, tokens.sizes)

        with telling(model, [hook]) as told, edit(model, hook, new, delta=delta):
            yield

    def _kept(self, tokens: Arranged) -> Tensor:
        """The rows that the `edit` filter keeps. The autoencoder follows the model to its device."""
        width = tokens.values.shape[1]
        if width != self.autoencoder.width:
            raise ArtifactError(
                f"{self.path} edits activations of width {self.autoencoder.width}, and {self.info.hook.name!r} of this "
                f"model gives width {width}",
                "attach the artifact to the model that it was trained on",
            )
        if self.autoencoder.decoder.device != tokens.values.device:
            self.autoencoder.to(tokens.values.device)
        keep = self.info.tokens.edit
        return keep.keep(tokens.example, tokens.coords, tokens.role, self.info.hook.roles).nonzero()[:, 0]


def _through(operations: Sequence[Operation], codes: Codes, tokens: Tokens) -> Codes:
    for operation in operations:
        codes = operation.apply(codes, tokens)
    return codes


def _stamp(model: nn.Module) -> tuple[int, int]:
    """What changes when weights are replaced or written to: cheap, so that a checked model is not hashed again."""
    held = [*model.parameters(), *model.buffers()]
    # Tensors made under inference_mode keep no count of writes.
    writes = sum(tensor._version for tensor in held if not tensor.is_inference())
    return hash(tuple((tensor.data_ptr(), tensor.dtype) for tensor in held)), writes
