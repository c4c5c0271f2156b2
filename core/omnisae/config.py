"""The run's config: one section a stage. Components are found by `type` through the registry. No torch here."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from omnisae.hooks.point import View
from omnisae.plugins.kinds import (
    ActivationByType,
    DatasetByType,
    DecoderByType,
    ExtractorByType,
    MetricByType,
    NestingByType,
    NormaliserByType,
    PenaltyByType,
    StudyByType,
    VisualizerByType,
)
from omnisae.tokens.filter import TokenFilters


class Section(BaseModel):
    """A part of the config: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class HookConfig(Section):
    """Where the model is read. What is left out is found from the model and written into the resolved config."""

    at: str | tuple[str, ...] = Field(description="module path, glob over module paths, or several to concatenate")
    view: View = Field("output", description="the module's input, its output, or output − input")
    select: tuple[int | str, ...] = Field((), description="path into a tuple or dict, e.g. [0]")
    call: int | None = Field(None, description="which call of the module in one forward; none: it fires exactly once")
    layout: str | None = Field(None, description="pattern, e.g. 'example (y x) d'; none: the extractor declares it")
    sizes: dict[str, int] = Field({}, description="sizes of the layout's axes and roles")
    columns: tuple[str, ...] = Field(
        (), description="axes of whole forwards whose value is put at the end of every token, as a condition"
    )
    name: str | None = Field(
        None, description="the name of the hook point in files and reports; none: made of path and view"
    )


class StoreConfig(Section):
    """The activation store."""

    dtype: Literal["float32", "float16", "bfloat16", "int8"] = Field(
        "bfloat16",
        description="what activations are stored in: bfloat16 halves disk and reading; int8, with a step per token, "
        "quarters them, and rounds away small values beside very large ones; float32 keeps every bit",
    )
    shard_mb: int = Field(256, gt=0, description="size of one shard in MiB")
    live: bool = Field(False, description="train straight from the extractor, without a store")
    workers: int | None = Field(
        None, ge=0, description="processes that prepare examples; none: one per core, up to four"
    )


class AuxKConfig(Section):
    """Dead-latent care by an auxiliary reconstruction of the residual (Gao et al. 2024, section A.2)."""

    k: int = Field(256, ge=0, description="dead latents that take part per token; 0 switches it off")
    weight: float = Field(1 / 32, ge=0, description="weight of the auxiliary loss")
    dead_after: int = Field(1_000_000, gt=0, description="tokens without firing after which a latent counts as dead")


class AutoencoderConfig(Section):
    """The parts of the autoencoder."""

    latents: int = Field(gt=0, description="number of latents")
    activation: ActivationByType = Field(
        description="the rule by which latents fire: its name, or a mapping with `type` and its fields"
    )
    decoder: DecoderByType = Field(
        {"type": "core.free"}, validate_default=True, description="what the decoder's rows are made of"
    )
    nesting: NestingByType | None = Field(None, description="nested dictionaries; none: one dictionary")
    normaliser: NormaliserByType = Field(
        {"type": "core.standard"}, validate_default=True, description="how activations are brought to a common scale"
    )
    penalties: tuple[PenaltyByType, ...] = Field((), description="terms of the loss beside the reconstruction")
    auxk: AuxKConfig | None = Field(None, description="revives dead latents; none: the activation rule's own default")
    unit_norm: bool = Field(True, description="keep every decoder row at unit norm")


class TrainConfig(Section):
    """Training."""

    tokens: int = Field(gt=0, description="tokens to train on; the data is repeated as often as needed")
    batch: int = Field(4096, gt=0, description="tokens a step")
    lr: float = Field(1e-3, gt=0, description="peak learning rate of Adam")
    warmup: float = Field(0.05, ge=0, le=1, description="share of the steps over which the rate rises")
    decay: float = Field(0.2, ge=0, le=1, description="last share of the steps over which the rate falls to zero")
    seeds: tuple[int, ...] = Field((0,), min_length=1, description="one autoencoder a seed, trained in the same pass")
    sweep: dict[str, tuple[Any, ...]] = Field(
        {}, description="dotted autoencoder fields and their values: all combinations"
    )
    examples: float = Field(0.5, gt=0, lt=1, description="share of the examples that the autoencoder learns from")
    precision: Literal["exact", "mixed", "bf16"] = Field(
        "exact",
        description="exact: fp32 decides; mixed: few bits propose, fp32 decides (99.9% the same); bf16: bf16 decides",
    )
    clip: float | None = Field(None, gt=0, description="largest norm of the gradient; none: not clipped")
    pool: int = Field(65_536, gt=0, description="rows mixed in memory at a time")
    checkpoint_every: int = Field(1_000, gt=0, description="steps between checkpoints")
    log_every: int = Field(50, gt=0, description="steps between lines of metrics.jsonl")
    devices: int = Field(1, gt=0, description="devices on this machine (started under torchrun: its world)")
    latent_shards: int = Field(
        1,
        gt=0,
        description="devices that hold each autoencoder together, each a share of its latents, for one larger than a "
        "device; batches are shared out among the devices over this number",
    )
    accelerator: str = Field("auto", description="Lightning Fabric's accelerator: auto, cpu, cuda, mps")


class SplitConfig(Section):
    """Which examples choose and which judge. Examples of one group never fall on both sides."""

    by: str = Field("example", description="'example', or the column whose groups stay together")
    select: float = Field(
        0.5, gt=0, lt=1, description="share of the examples not trained on that choose; the rest test"
    )
    seed: int = Field(0, description="orders the groups; another seed is another split")


class ControlsConfig(Section):
    """What every concept's best latent is compared with."""

    neurons: bool = Field(True, description="the model's own neurons, each with its negative")
    pca: int = Field(256, ge=0, description="principal components, each with its negative; 0: none")
    random: int = Field(1024, ge=0, description="random directions; 0: none")
    permutations: int = Field(499, ge=19, description="label permutations behind each p-value")


class ScoreConfig(Section):
    """Scoring latents against concepts."""

    split: SplitConfig = Field(SplitConfig(), description="which examples choose and which judge")
    metrics: tuple[MetricByType, ...] = Field(
        ({"type": "core.f1"}, {"type": "core.auroc"}, {"type": "core.iou"}),
        validate_default=True,
        description="what is measured",
    )
    studies: tuple[StudyByType, ...] = Field(
        (), description="further questions about the autoencoder and its latents, each with a page of its answers"
    )
    thresholds: tuple[float, ...] = Field(
        (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8),
        description="on activations divided by their maximum on select",
    )
    coverage: float = Field(0.5, gt=0, le=1, description="share of a token's cell that a mask must cover to label it")
    top: int = Field(5, gt=0, description="latents kept per concept, the best on the select split")
    min_positives: int = Field(5, gt=0, description="positive examples a concept must have on each split")
    controls: ControlsConfig = Field(ControlsConfig(), description="what latents are compared with")
    effects: int = Field(16, ge=0, description="latents whose switching-off is measured on the model's own loss")
    of: Literal["first", "all"] = Field("first", description="score the first autoencoder only, or all of them")


class ReportConfig(Section):
    """The report."""

    examples: int = Field(16, gt=0, description="top examples a latent")
    random_examples: int = Field(8, ge=0, description="examples from quantiles of activation beside the top ones")
    latents: int = Field(
        2000, gt=0, description="latents that get a page of pictures, the best-scored and most frequent first"
    )
    visualizers: tuple[VisualizerByType, ...] | None = Field(
        None, description="none: every visualizer whose axes match"
    )
    title: str | None = Field(None, description="heading of the report; none: the run's name")


class RunConfig(Section):
    """One run, as a user writes it."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="the run's name and its folder under runs/")
    dataset: DatasetByType = Field(description="the examples and what is known of them")
    extractor: ExtractorByType = Field(description="the frozen model")
    hooks: tuple[HookConfig, ...] = Field(min_length=1, description="where the model is read")
    tokens: TokenFilters = Field(TokenFilters(), description="which tokens each stage keeps")
    store: StoreConfig = Field(StoreConfig(), description="the activation store")
    autoencoder: AutoencoderConfig = Field(description="the parts of the autoencoder")
    train: TrainConfig = Field(description="training")
    score: ScoreConfig = Field(default_factory=ScoreConfig, description="scoring latents against concepts")
    report: ReportConfig = Field(ReportConfig(), description="the report")

    @field_validator("hooks")
    @classmethod
    def _names_differ(cls, hooks: tuple[HookConfig, ...]) -> tuple[HookConfig, ...]:
        names = [hook.name for hook in hooks if hook.name]
        if len(set(names)) != len(names):
            raise ValueError(f"hook points share a name: {names}; give each its own")
        return hooks
