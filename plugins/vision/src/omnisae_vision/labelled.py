"""What is known of whole pictures, whatever file it comes from: as concepts, to show, and to group by."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from omnisae.errors import DatasetError, did_you_mean
from omnisae.extract.dataset import Dataset
from omnisae_vision.attributes import Attributes, Concepts, one_hot


class Labelled(Dataset):
    """Pictures with a class, where there are classes, and with attributes."""

    @property
    @abstractmethod
    def classes(self) -> Sequence[str] | None:
        """The class of every picture; None where there are no classes."""

    @property
    @abstractmethod
    def attributes(self) -> Attributes:
        """What else is known of them."""

    def concepts(self) -> Concepts:
        """Concepts of whole pictures: `class=<name>`, and those of the attributes."""
        classes = self.classes
        return ({} if classes is None else one_hot("class", classes)) | dict(self.attributes.concepts)

    def labels(self) -> Mapping[str, Sequence[str]]:
        classes = self.classes
        return {**({} if classes is None else {"class": classes}), **self.attributes.words}

    def groups(self, column: str) -> Sequence[str]:
        known = {**self.labels(), **self.attributes.groups}
        if column not in known:
            raise DatasetError(f"this dataset has no column {column!r} to group by", did_you_mean(column, known))
        return known[column]

    def group_columns(self) -> Sequence[str]:
        return [*self.labels(), *self.attributes.groups]
