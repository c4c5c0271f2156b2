"""What this plug-in offers. No torch here: `build` imports what is heavy."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from omnisae.plugins.hookspecs import hookimpl
from omnisae.plugins.kinds import (
    DatasetConfig,
    ExtractorByType,
    ExtractorConfig,
    InterventionConfig,
    StudyConfig,
    VisualizerConfig,
)
from omnisae_diffusion.plugin_edits import EDITS
from omnisae_diffusion.plugin_studies import STUDIES
from omnisae_diffusion.plugin_views import VIEWS

if TYPE_CHECKING:
    from omnisae.extract.dataset import Dataset
    from omnisae.extract.extractor import Extractor
    from omnisae_diffusion.process import Process


class PromptsConfig(DatasetConfig):
    """Prompts or class labels, each with the seed of its noise: an example is one picture to be made."""

    type: Literal["diffusion.prompts"] = "diffusion.prompts"
    table: str = Field(
        description="table of prompts: .csv, .tsv, .jsonl, or .txt with a prompt a line; 'world:digits' has one"
    )
    prompt: str = Field("prompt", description="column of the prompts")
    label: str | None = Field(
        None, description="column of class numbers, for models without a text encoder; none: `label`, if there is one"
    )
    seed: str | None = Field(
        None, description="column of the noise's seeds; none: `seed`, if there is one, else made of the row's number"
    )
    negative: str | None = Field(None, description="column of negative prompts")
    id: str | None = Field(None, description="column that names the examples; none: `id`, if there is one, else rows")
    concepts: tuple[str, ...] = Field((), description="columns whose words become concepts: digit=7, ink=neon")
    repeats: int = Field(1, ge=1, description="pictures a prompt, each from a noise of its own")
    without: dict[str, tuple[str, ...]] = Field(
        {}, description="prompts that are left out, by the words of a column: {digit: ['7']}"
    )
    first: int | None = Field(None, ge=1, description="only so many prompts from the table's beginning")

    def build(self) -> "Dataset":
        from omnisae_diffusion.prompts import Prompts

        return Prompts(self)


class GeneratedConfig(PromptsConfig):
    """The pictures that a model makes of prompts, for any extractor of pictures. They are made once, and kept."""

    type: Literal["diffusion.generated"] = "diffusion.generated"  # type: ignore[assignment]
    generator: ExtractorByType = Field(
        description="what makes them, e.g. {type: diffusion.pipeline, model: 'world:digits/unet', guidance: 2.0}"
    )
    folder: Path | None = Field(
        None, description="where pictures are kept, a folder a generator; none: below the cache (OMNISAE_CACHE)"
    )

    @field_validator("generator")
    @classmethod
    def _makes_pictures(cls, generator: ExtractorConfig) -> ExtractorConfig:
        if not isinstance(generator, ProcessConfig):
            raise ValueError(f"{generator.type} makes no pictures; name diffusion.pipeline or diffusion.module")
        for field in ("gather", "at", "branch"):
            if getattr(generator, field) != ProcessConfig.model_fields[field].default:
                raise ValueError(f"generator.{field} says what is read, and nothing is read here; leave it out")
        return generator

    @property
    def making(self) -> "ProcessConfig":
        """The generator, of the kind that the validator has seen to."""
        assert isinstance(self.generator, ProcessConfig)
        return self.generator

    def build(self) -> "Dataset":
        from omnisae_diffusion.generated_pictures import GeneratedPictures

        return GeneratedPictures(self)


class ProcessConfig(ExtractorConfig):
    """What extractors over diffusion models have in common."""

    steps: int = Field(20, ge=1, description="steps of a generation")
    guidance: float = Field(
        1.0, ge=0, description="strength of classifier-free guidance; up to 1: off (pipelines decide that themselves)"
    )
    branch: Literal["conditional", "unconditional", "both"] | None = Field(
        None, description="which branch of guidance is read; none: the conditional one where guidance is on"
    )
    gather: Literal["generation", "noising"] = Field(
        "generation",
        description="generation: the model's own pictures, step by step; noising: the dataset's pictures, noised to "
        "each time, the model told nothing of them",
    )
    at: tuple[float, ...] | None = Field(
        None, description="scheduler times that are read, each to be one of the schedule's; none: all of them"
    )
    batch_size: int = Field(32, ge=1, description="pictures made at once")
    device: str = Field("auto", description="auto, cpu, cuda, mps")

    @abstractmethod
    def process(self) -> "Process":
        """The denoiser at work."""

    def build(self, dataset: "Dataset") -> "Extractor":
        from omnisae_diffusion.extractor import DiffusionExtractor

        return DiffusionExtractor(self, self.process(), dataset)


class PipelineConfig(ProcessConfig):
    """Any diffusers pipeline, or a bare denoiser of diffusers' classes with a scheduler."""

    type: Literal["diffusion.pipeline"] = "diffusion.pipeline"
    model: str = Field(
        description="folder of a pipeline or of a bare denoiser, 'hf-hub:OWNER/NAME', or 'world:digits/unet'"
    )
    revision: str | None = Field(None, description="of a model from the hub: branch, tag or commit")
    variant: str | None = Field(None, description="of a model from the hub: such as fp16")
    scheduler: dict[str, Any] = Field(
        {}, description="another scheduler than the model's: {class: DDIMScheduler, ...} with fields that differ"
    )
    size: tuple[int, int] | None = Field(None, description="height and width of the pictures; none: the model's own")
    dtype: Literal["float32", "float16", "bfloat16"] = Field("float32", description="precision of the networks")
    call: dict[str, Any] = Field({}, description="further arguments of the pipeline's call, e.g. max_sequence_length")

    def process(self) -> "Process":
        from omnisae_diffusion.load import process

        return process(self)


class ModuleConfig(ProcessConfig):
    """A plain network that predicts the noise in pictures: its own code and weights, a linear or cosine schedule."""

    type: Literal["diffusion.module"] = "diffusion.module"
    code: str = Field(description="its class in an installed package: MODULE:CLASS, e.g. my_ddpm.model:UNet")
    arguments: dict[str, Any] = Field({}, description="arguments of that class")
    weights: Path | None = Field(
        None, description="its state: .safetensors, or .pt/.pth (read as tensors alone); none: as built"
    )
    prefix: str = Field("", description="what the names in the state begin with and the network's do not")
    shape: tuple[int, int, int] = Field(description="channels, height and width of its pictures")
    times: int = Field(1000, ge=1, description="times of its training schedule")
    beta: tuple[float, float] = Field((1e-4, 0.02), description="first and last variance added, of a linear schedule")
    schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = Field("linear", description="how they rise")
    time_shape: Literal["example", "example 1"] = Field(
        "example", description="the form in which its forward takes the times, its second argument"
    )
    clip: bool = Field(True, description="clip the guess of the clean picture to −1 … 1 at every step")

    def process(self) -> "Process":
        from omnisae_diffusion.module import process

        return process(self)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.code.count(":") != 1 or not all(self.code.split(":")):
            raise ValueError(f"code is {self.code!r}; write MODULE:CLASS, e.g. my_ddpm.model:UNet")
        return self


@hookimpl
def omnisae_datasets() -> list[type[DatasetConfig]]:
    return [PromptsConfig, GeneratedConfig]


@hookimpl
def omnisae_extractors() -> list[type[ExtractorConfig]]:
    return [PipelineConfig, ModuleConfig]


@hookimpl
def omnisae_interventions() -> Sequence[type[InterventionConfig]]:
    return EDITS


@hookimpl
def omnisae_studies() -> Sequence[type[StudyConfig]]:
    return STUDIES


@hookimpl
def omnisae_visualizers() -> Sequence[type[VisualizerConfig]]:
    return VIEWS
