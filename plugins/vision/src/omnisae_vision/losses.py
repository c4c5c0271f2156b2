"""The model's own loss on each picture, under whatever edits are in force."""

import copy
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cosine_similarity, cross_entropy

from omnisae.errors import DatasetError, did_you_mean
from omnisae.extract.dataset import Dataset

Outputs = Float[Tensor, "example c"]
Each = Float[Tensor, " example"]

REMEMBERED = 20_000
"""Pictures whose unedited outputs are kept."""


class Loss(ABC):
    """A number for each picture, from the model's outputs."""

    @abstractmethod
    def __call__(
        self, rows: Sequence[int], inputs: Tensor, outputs: Float[Tensor, "example c"]
    ) -> Float[Tensor, " example"]:
        """`outputs` are what the model gave for `inputs`, edits included; fp32."""


class AgainstItself(Loss):
    """How far the outputs have moved from the model's own, unedited ones.

    softmax, sigmoid: cross-entropy of the outputs with the unedited ones as target (so an unedited model has its own
    entropy). embedding: 1 − cosine.

    The unedited outputs come from a twin that shares every weight with the model but none of its hooks; it must be made
    before any hook is. `answer` gives a model's outputs for pictures.
    """

    def __init__(self, model: nn.Module, answer: Callable[[nn.Module, Tensor], Outputs], kind: str) -> None:
        self._twin, self._answer, self._kind = twin(model), answer, kind
        self._known: OrderedDict[int, Tensor] = OrderedDict()

    def __call__(
        self, rows: Sequence[int], inputs: Tensor, outputs: Float[Tensor, "example c"]
    ) -> Float[Tensor, " example"]:
        target = self._unedited(rows, inputs).to(outputs.device)
        if self._kind == "embedding":
            return 1 - cosine_similarity(outputs, target, dim=1)
        if self._kind == "sigmoid":
            return binary_cross_entropy_with_logits(outputs, target.sigmoid(), reduction="none").mean(1)
        return cross_entropy(outputs, target.softmax(1), reduction="none")

    def _unedited(self, rows: Sequence[int], inputs: Tensor) -> Float[Tensor, "example c"]:
        if any(row not in self._known for row in rows):
            found = self._answer(self._twin, inputs).cpu()
            self._known |= dict(zip(rows, found, strict=True))
        target = torch.stack([self._known[row] for row in rows])
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return target


class Multilabel(Loss):
    """Binary cross-entropy with the attributes, averaged over those that are known of the picture (0 where none is)."""

    def __init__(self, targets: Float[Tensor, "example c"]) -> None:
        self._targets = targets

    def __call__(
        self, rows: Sequence[int], inputs: Tensor, outputs: Float[Tensor, "example c"]
    ) -> Float[Tensor, " example"]:
        target = self._targets[list(rows)].to(outputs.device)
        known = ~target.isnan()
        each = binary_cross_entropy_with_logits(outputs, target.nan_to_num(), reduction="none")
        return (each * known).sum(1) / known.sum(1).clamp(min=1)


class Labelled(Loss):
    """Cross-entropy with the picture's class."""

    def __init__(self, targets: Int[Tensor, " example"]) -> None:
        self._targets = targets

    def __call__(
        self, rows: Sequence[int], inputs: Tensor, outputs: Float[Tensor, "example c"]
    ) -> Float[Tensor, " example"]:
        return cross_entropy(outputs, self._targets[list(rows)].to(outputs.device), reduction="none")


def twin(model: nn.Module) -> nn.Module:
    """The same model once more, sharing every parameter and buffer, so that it costs no memory; without its hooks."""
    shared = {id(t): t for t in [*model.parameters(), *model.buffers()]}
    return copy.deepcopy(model, shared)


def multilabel(dataset: Dataset, names: Sequence[str] | None, outputs: int) -> Multilabel:
    """Targets from the dataset's concepts of whole pictures. Raises DatasetError where they do not fit the outputs."""
    labels = dataset.annotations().labels
    if names is None:
        raise DatasetError(
            "extractor.loss is 'multilabel', and nothing says which attribute each output of the model stands for",
            "list them in extractor.targets, in order, or choose loss: outputs",
        )
    for name in names:
        if name not in labels:
            raise DatasetError(
                f"extractor.loss is 'multilabel', and the dataset has no attribute {name!r} for the model's output",
                did_you_mean(name, labels) + "; loss: outputs needs no labels",
            )
    _same_length(names, outputs)
    columns = [torch.as_tensor(labels[name], dtype=torch.float32) for name in names]
    return Multilabel(torch.stack(columns, dim=1))


def labelled(dataset: Dataset, names: Sequence[str] | None, outputs: int) -> Labelled:
    """Targets from the dataset's classes. Raises DatasetError where they do not fit the outputs."""
    classes = dataset.labels().get("class")
    if classes is None:
        raise DatasetError("extractor.loss is 'labels', and the dataset has no classes", "choose loss: outputs")
    order = list(names) if names is not None else sorted(set(classes))
    _same_length(order, outputs)
    unknown = sorted(set(classes) - set(order))
    if unknown:
        raise DatasetError(
            f"extractor.targets does not name the classes {', '.join(map(repr, unknown[:5]))}",
            did_you_mean(unknown[0], order),
        )
    return Labelled(torch.tensor([order.index(name) for name in classes]))


def _same_length(names: Sequence[str], outputs: int) -> None:
    if len(names) != outputs:
        raise DatasetError(
            f"the model has {outputs} outputs, and {len(names)} targets are named: {', '.join(list(names)[:6])}",
            "list extractor.targets in the order of the model's outputs, or choose loss: outputs",
        )
