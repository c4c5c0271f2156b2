"""What this plug-in offers. No torch here: `build` imports what is heavy."""

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from omnisae.plugins.hookspecs import hookimpl
from omnisae.plugins.kinds import DatasetConfig, ExtractorConfig, StudyConfig, VisualizerConfig
from omnisae_vision.stored import AsStored

if TYPE_CHECKING:
    from omnisae.extract.dataset import Dataset
    from omnisae.extract.extractor import Extractor


class PicturesConfig(AsStored, ExtractorConfig):
    """A frozen vision model that sees pictures of one size; the base of this plug-in's extractors."""

    model: str = Field(description="the model's name")
    image_size: int | tuple[int, int] | None = Field(
        None, description="pixels (height, width) the model sees; none: the model's own"
    )
    loss: Literal["none", "outputs", "multilabel", "labels"] = Field(
        "none",
        description="the model's own loss: against its unedited outputs, against attributes (BCE), or classes (CE)",
    )
    outputs: Literal["softmax", "sigmoid", "embedding"] = Field(
        "softmax",
        description="for loss: outputs — cross-entropy of softmax or sigmoid, or 1 − cosine of embeddings",
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    batch_size: int = Field(32, gt=0, description="pictures in one forward")
    dtype: Literal["float32", "float16", "bfloat16"] = Field("float32", description="of weights and activations")


class TimmConfig(PicturesConfig):
    """Any timm ViT or CNN: from the hub where `pretrained` says so, from a local checkpoint, or a world's own model."""

    type: Literal["vision.timm"] = "vision.timm"
    model: str = Field(description="timm's name, e.g. vit_base_patch16_224, with its tag for hub weights")
    pretrained: bool = Field(
        False, description="take timm's weights from the Hugging Face hub (needs the network once)"
    )
    checkpoint: str | None = Field(
        None, description="local .safetensors or .pth, or a world such as 'world:shapes' that ships the model"
    )
    arguments: dict[str, Any] = Field({}, description="further arguments of timm.create_model, e.g. {num_classes: 10}")
    targets: tuple[str, ...] | None = Field(
        None, description="the model's outputs in order, as attributes or classes; none: what the checkpoint says"
    )

    def build(self, dataset: "Dataset") -> "Extractor":
        from omnisae_vision.timm_extractor import TimmExtractor

        return TimmExtractor(self, dataset)


class OpenClipConfig(PicturesConfig):
    """The image tower of any open_clip model; its text tower serves zero-shot classes and names of latents."""

    type: Literal["vision.open_clip"] = "vision.open_clip"
    model: str = Field(
        description="open_clip's name, e.g. ViT-B-16, or hf-hub:…, or local-dir:… (open_clip_config.json and weights)"
    )
    pretrained: str | None = Field(
        None, description="open_clip's tag of the weights to fetch, e.g. laion2b_s34b_b88k (needs the network once)"
    )
    checkpoint: str | None = Field(
        None, description="local .safetensors or .pt: a state_dict of the whole model, or of the image tower alone"
    )
    arguments: dict[str, Any] = Field(
        {}, description="what differs from the model's own configuration, e.g. {vision_cfg: {layers: 6}}"
    )
    classes: tuple[str, ...] | None = Field(
        None, description="names of classes: the model then answers with their zero-shot logits; none: its embedding"
    )
    prompts: tuple[str, ...] = Field(
        ("a photo of a {}.",), description="what is said of a class, {} its name; several are averaged"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        given = [name for name in ("pretrained", "checkpoint") if getattr(self, name) is not None]
        if len(given) == 2 or (given and ":" in self.model):
            raise ValueError(
                f"weights are named twice: extractor.model {self.model!r}, " + ", ".join(given) + "; give one of them"
            )
        if self.loss in ("multilabel", "labels") and self.classes is None:
            raise ValueError(
                f"extractor.loss is {self.loss!r}, and without extractor.classes the model answers with an embedding; "
                "name the classes, or choose loss: outputs with outputs: embedding"
            )
        wrong = [prompt for prompt in self.prompts if prompt.count("{}") != 1]
        if wrong or not self.prompts:
            raise ValueError(
                f"extractor.prompts must hold {{}} once each, for the class's name: {wrong or 'none given'}"
            )
        return self

    def build(self, dataset: "Dataset") -> "Extractor":
        from omnisae_vision.open_clip_extractor import OpenClipExtractor

        return OpenClipExtractor(self, dataset)


class TransformersConfig(PicturesConfig):
    """A vision model of transformers, or the vision tower of a vision-language model, from a folder or the hub."""

    type: Literal["vision.transformers"] = "vision.transformers"
    model: str = Field(
        description="a folder with config.json, hf-hub:owner/name, or a type of model such as dinov2_with_registers"
    )
    weights: Literal["found", "random"] = Field(
        "found", description="found: the folder's or the hub's; random: none, only the configuration is read"
    )
    settings: dict[str, Any] = Field(
        {}, description="what differs from the model's own configuration, e.g. {num_hidden_layers: 6}"
    )
    head: bool = Field(False, description="with the classification head, whose logits are then the model's answer")
    targets: tuple[str, ...] | None = Field(
        None, description="the head's outputs in order, as attributes or classes; none: what its configuration says"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.loss in ("multilabel", "labels") and not self.head:
            raise ValueError(f"extractor.loss is {self.loss!r}, which needs the classification head; set head: true")
        return self

    def build(self, dataset: "Dataset") -> "Extractor":
        from omnisae_vision.transformers_extractor import TransformersExtractor

        return TransformersExtractor(self, dataset)


@hookimpl
def omnisae_datasets() -> list[type[DatasetConfig]]:
    from omnisae_vision.plugin_datasets import DATASETS

    return list(DATASETS)


@hookimpl
def omnisae_extractors() -> list[type[ExtractorConfig]]:
    return [TimmConfig, OpenClipConfig, TransformersConfig]


@hookimpl
def omnisae_studies() -> list[type[StudyConfig]]:
    from omnisae_vision.plugin_edits import EDIT_STUDIES
    from omnisae_vision.plugin_studies import STUDIES

    return [*STUDIES, *EDIT_STUDIES]


@hookimpl
def omnisae_visualizers() -> list[type[VisualizerConfig]]:
    from omnisae_vision.views.configs import VISUALIZERS

    return list(VISUALIZERS)
