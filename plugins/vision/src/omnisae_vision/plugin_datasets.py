"""Datasets of pictures that this plug-in offers. No torch here: `build` imports what is heavy."""

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from omnisae.plugins.kinds import DatasetConfig
from omnisae_vision.stored import AsStored

if TYPE_CHECKING:
    from omnisae.extract.dataset import Dataset

PICKLED = ("pyd", "pickle", "pkl", "pth", "pt")
"""Endings under which WebDataset keeps pickles."""

HUB = "hf-hub:"
"""What stands before a name on Hugging Face's hub, as in the extractors' `model`."""


class FolderConfig(AsStored, DatasetConfig):
    """Pictures below a folder, with a table of attributes where there is one."""

    root: str = Field(description="the folder, or a small world with known truth such as 'world:shapes'")
    images: str | None = Field(
        None, description="the pictures' folder below `root`; none: `images` where there is one, else `root` itself"
    )
    classes: bool = Field(False, description="folders below are classes; no: they are only folders")
    attributes: str | None = Field(
        None, description="table below `root`: an id, then 0/1, fractions or words; empty is unknown"
    )
    id: str = Field("id", description="the tables' column that names the example: its path without the ending")
    columns: tuple[str, ...] | None = Field(None, description="columns of `attributes` that become concepts; none: all")
    group: str | None = Field(None, description="column of `attributes` by which examples belong together; never shown")
    exif: bool = Field(False, description="turn pictures as their EXIF orientation says (then regions are drawn so)")


class ImageFolderConfig(FolderConfig):
    """A folder of pictures, one folder a class, with masks and a table of attributes where there are any."""

    type: Literal["vision.image_folder"] = "vision.image_folder"
    classes: bool = Field(True, description="folders below are classes; no: they are only folders")
    masks: str | None = Field(
        None, description="the masks' folder below `root`: one PNG an example, at the picture's size"
    )
    mask_table: str | None = Field(
        None, description="table of id, instance, concept that tells what a mask's numbers are; none: `<masks>.csv`"
    )
    mask_values: dict[int, str] = Field(
        {}, description="concept of each number in the masks, where numbers mean the same in all (instead of a table)"
    )

    def build(self) -> "Dataset":
        from omnisae_vision.image_folder import ImageFolder

        return ImageFolder(self)


class CocoConfig(FolderConfig):
    """Pictures with COCO's JSON: instances (polygons, run lengths, boxes, crowds), stuff, or panoptic segments."""

    type: Literal["vision.coco"] = "vision.coco"
    annotations: tuple[str, ...] = Field(
        min_length=1, description="JSON below `root`, one or several (things and stuff): instances or panoptic"
    )
    segments: str | None = Field(
        None, description="folder below `root` of panoptic PNGs; none: the one beside the JSON, named as it is"
    )
    categories: tuple[str, ...] | None = Field(None, description="categories that become concepts; none: all")
    supercategories: bool = Field(False, description="supercategories become concepts, too")
    crowd: Literal["keep", "drop"] = Field(
        "keep", description="crowds of things that are not told apart: kept as one instance each, or left out"
    )

    @field_validator("annotations", mode="before")
    @classmethod
    def _one_or_several(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given

    def build(self) -> "Dataset":
        from omnisae_vision.coco import CocoFolder

        return CocoFolder(self)


class YoloConfig(FolderConfig):
    """Pictures with YOLO's text files: a line a box (class, centre, size) or polygon, in fractions of the picture."""

    type: Literal["vision.yolo"] = "vision.yolo"
    labels: str = Field("labels", description="folder below `root` of the text files, one a picture, named as it is")
    names: tuple[str, ...] | str = Field(
        description="names of the classes in order, or a YAML file below `root` that holds them under `names`"
    )
    missing: Literal["unknown", "empty"] = Field(
        "unknown",
        description="a picture without text file: not annotated (its tokens count for nothing), or without objects",
    )

    def build(self) -> "Dataset":
        from omnisae_vision.yolo import YoloFolder

        return YoloFolder(self)


class WebDatasetConfig(AsStored, DatasetConfig):
    """Pictures in local tar shards as WebDataset writes them, read at any place through an index of their members."""

    type: Literal["vision.webdataset"] = "vision.webdataset"
    root: str = Field(description="the folder of the shards")
    shards: tuple[str, ...] = Field(
        ("*.tar",), min_length=1, description="shards below `root`: names, globs, or braces such as s-{000..012}.tar"
    )
    image: tuple[str, ...] = Field(
        ("jpg", "jpeg", "png", "webp", "ppm", "bmp", "tif", "tiff"),
        min_length=1, description="endings of pictures; the first that a sample has counts",
    )  # fmt: skip
    label: str | None = Field("cls", description="ending of the class (a number or a word); none: no classes")
    class_names: tuple[str, ...] | None = Field(None, description="names of classes that are numbers, in order from 0")
    document: str = Field("json", description="ending of the samples' JSON")
    fields: tuple[str, ...] = Field(
        (), description="fields of the JSON that become concepts: 0/1, fractions, words; `a.b` is b within a"
    )
    group: str | None = Field(None, description="field of the JSON by which examples belong together; never shown")
    text: str | None = Field("txt", description="ending of a text that reports show; none: no text")
    masks: str | None = Field(None, description="ending of masks, e.g. mask.png: one whole number a pixel")
    mask_values: dict[int, str] = Field({}, description="concept of each number in the masks")
    exif: bool = Field(False, description="turn pictures as their EXIF orientation says (then masks are drawn so)")

    @field_validator("shards", "image", mode="before")
    @classmethod
    def _one_or_several(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given

    @model_validator(mode="after")
    def _fits(self) -> Self:
        named = [("image", one) for one in self.image] + [
            (key, value) for key in ("label", "document", "text", "masks") if (value := getattr(self, key)) is not None
        ]
        for key, ending in named:
            if ending.lower().rpartition(".")[2] in PICKLED:
                raise ValueError(
                    f"dataset.{key} is {ending!r}, which holds a pickle: a pickle is a program, and never read"
                )
            if ending != ending.lower():
                raise ValueError(f"dataset.{key} is {ending!r}; endings are given in lower case")
        if (self.masks is None) != (not self.mask_values):
            raise ValueError("dataset.masks and dataset.mask_values go together: where masks lie, and what they mean")
        return self

    def build(self) -> "Dataset":
        from omnisae_vision.webdataset import WebDataset

        return WebDataset(self)


class HubDatasetConfig(AsStored, DatasetConfig):
    """Pictures of Hugging Face `datasets`: saved to disk, parquet, a folder of pictures, or on the hub."""

    type: Literal["vision.hub_dataset"] = "vision.hub_dataset"
    path: str = Field(
        description="a folder of save_to_disk, .parquet files, a folder of pictures; or hf-hub:owner/name (needs the "
        "network once)"
    )
    subset: str | None = Field(None, description="the hub dataset's configuration; none: its default")
    revision: str | None = Field(None, description="the hub dataset's commit or tag; none: the newest")
    split: str | None = Field(None, description="which split; none: train, or the only one")
    image: str = Field("image", description="column of pictures")
    id: str | None = Field(None, description="column that names the examples; none: they are numbered")
    label: str | None = Field(None, description="column of the class; none: `label` where there is one")
    attributes: tuple[str, ...] = Field((), description="columns that become concepts: 0/1, fractions, words")
    group: str | None = Field(None, description="column by which examples belong together; never shown")
    boxes: str | None = Field(None, description="column of boxes, e.g. objects.bbox: a list of four numbers each")
    box_format: Literal["xywh", "xyxy", "cxcywh"] = Field(
        "xywh", description="left, top, width, height (COCO); left, top, right, bottom (VOC); centre, width, height"
    )
    box_units: Literal["pixels", "fractions"] = Field("pixels", description="pixels, or fractions of the picture")
    box_labels: str | None = Field(None, description="column of the boxes' classes, e.g. objects.category")
    box_names: tuple[str, ...] | None = Field(None, description="names of these classes; none: what the dataset says")
    masks: str | None = Field(None, description="column of masks: pictures of one whole number a pixel")
    mask_values: dict[int, str] = Field({}, description="concept of each number in the masks")
    exif: bool = Field(False, description="turn pictures as their EXIF orientation says (then regions are drawn so)")
    cache: str | None = Field(
        None, description="folder of what the library converts or fetches; none: Hugging Face's own cache"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for key in ("subset", "revision"):
            if self.hub is None and getattr(self, key) is not None:
                raise ValueError(f"dataset.{key} is about the hub, and dataset.path is on this machine; leave it out")
        if self.box_labels is not None and self.boxes is None:
            raise ValueError("dataset.box_labels says what boxes show; name the boxes in dataset.boxes")
        if (self.masks is None) != (not self.mask_values):
            raise ValueError("dataset.masks and dataset.mask_values go together: where masks lie, and what they mean")
        return self

    @property
    def hub(self) -> str | None:
        """The name on the hub; None where the dataset lies on this machine."""
        return self.path.removeprefix(HUB) if self.path.startswith(HUB) else None

    def build(self) -> "Dataset":
        from omnisae_vision.hub_datasets import HubDataset

        return HubDataset(self)


DATASETS: tuple[type[DatasetConfig], ...] = (
    ImageFolderConfig,
    CocoConfig,
    YoloConfig,
    WebDatasetConfig,
    HubDatasetConfig,
)
