"""What gathering along generation costs beside the bare generation of the same pictures, and what it holds in memory.

    python benchmarks/diffusion_gathering.py [--of unet dit wide] [--pictures 64] [--steps 10] [--rounds 5]

`unet` and `dit` are the denoisers of the world `digits`, smaller than any that is in use, so that little stands
against what is spent beside them; `wide` is a Stable Diffusion pipeline with random weights, 64 and 128 channels over
latents of 32 × 32, whose text encoder and decoder are next to nothing. The same asks, in the same batches, go round
after round and by turns through

    generate   the pipeline alone: pictures out of prompts
    gather     the same generation, read at the hook points at every step; the tokens into finished stores on disk

so that whatever else the machine does falls on both alike. Printed is, over rounds, the median of the seconds of
`gather` over those of `generate`, and the same of the processor's time, which other processes disturb less. Then one
batch is gathered with so many steps and with four times as many, and the bytes of all tensors alive are counted, above
those alive before, in those of the tokens of one step at all hook points: `held` at the end of the second step (the
generation itself keeps something of the one before) and of the last, when these tokens, the tensors that they come from
(of both branches) and the generation's own are there, and the most whenever tokens go into a store.
"""

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from omnisae.config import HookConfig
from omnisae.extract.dataset import Dataset
from omnisae.extract.gather import gather
from omnisae.hooks.point import HookPoint
from omnisae.store.writer import StoreWriter
from omnisae.tokens.batch import TokenBatch
from omnisae_diffusion.extractor import DiffusionExtractor
from omnisae_diffusion.pipeline import PipelineProcess
from omnisae_diffusion.plugin import PipelineConfig, PromptsConfig

LIMIT = 1.10
"""Gathering may cost this many times the bare generation."""
AT = {
    "unet": ("unet.mid_block", "unet.up_blocks.0"),
    "dit": ("transformer.transformer_blocks.3",),
    "wide": ("unet.mid_block", "unet.up_blocks.0"),
}
LONGER = 4
"""So many times the steps are to need no more memory."""


@dataclass(frozen=True)
class Measured:
    """Seconds by the clock and of the processor, round by round, of both ways; tokens that one gathering wrote."""

    generate: list[tuple[float, float]]
    gather: list[tuple[float, float]]
    tokens: int

    def ratios(self, which: int) -> list[float]:
        """Gathering over generating in the same round: 0 by the clock, 1 by the processor."""
        return [a[which] / b[which] for a, b in zip(self.gather, self.generate, strict=True)]


def main() -> None:
    """Print the table."""
    options = _options()
    print(f"{options.pictures} pictures, {options.steps} steps, {options.rounds} rounds, 1 warming up", flush=True)
    for name in options.of:
        dataset = prompts(options.pictures)
        extractor = build(name, dataset, options.steps, options.batch_size)
        with tempfile.TemporaryDirectory(prefix="omnisae-gathering-") as folder:
            report(name, dataset, extractor, options.rounds, Path(folder))
            few = prompts(min(options.pictures, extractor.batch_size()))
            counts = [options.steps, options.steps * LONGER]
            most = [held(few, build(name, few, steps, len(few)), AT[name], Path(folder)) for steps in counts]
        for one, steps in zip(most, counts, strict=True):
            told = f"{one.second:.2f} and {one.last:.2f}, writing {one.writing:.2f}"
            print(f"{'':6} held, {steps} steps: after the second and the last {told}", flush=True)


def report(name: str, dataset: Dataset, extractor: DiffusionExtractor, rounds: int, folder: Path) -> None:
    """Measure one denoiser, and print."""
    points = extractor.resolve([HookConfig(at=at) for at in AT[name]])
    found = measure(dataset, extractor, points, rounds, folder)
    seconds = statistics.median(clock for clock, _ in found.generate)
    print(f"{name:6} generate {seconds:7.2f} s; gather {found.tokens:,} tokens at {', '.join(AT[name])}")
    for which, kind in enumerate(("by the clock", "of the processor")):
        each = found.ratios(which)
        over = f"  over {LIMIT}" if statistics.median(each) > LIMIT else ""
        spread = f"{min(each):.3f} to {max(each):.3f}, n = {len(each)}"
        print(f"{'':6} gather / generate, {kind:16} {statistics.median(each):.3f} ({spread}){over}", flush=True)


def measure(
    dataset: Dataset, extractor: DiffusionExtractor, points: Sequence[HookPoint], rounds: int, folder: Path
) -> Measured:
    """Both ways by turns, after a round that warms up. The order turns every round."""
    asks = [dataset.load(row).input for row in range(len(dataset))]
    size, tokens = extractor.batch_size(), [0]

    def generate() -> None:
        for start in range(0, len(asks), size):
            extractor.process.generate(asks[start : start + size])

    def gathering() -> None:
        tokens[0] = gathered(dataset, extractor, points, folder)

    ways: dict[str, Callable[[], None]] = {"generate": generate, "gather": gathering}
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for n in range(rounds + 1):
        for name in list(ways)[:: 1 if n % 2 else -1]:
            clock, processor = time.perf_counter(), time.process_time()
            ways[name]()
            took[name].append((time.perf_counter() - clock, time.process_time() - processor))
    return Measured(took["generate"][1:], took["gather"][1:], tokens[0])


def gathered(dataset: Dataset, extractor: DiffusionExtractor, points: Sequence[HookPoint], folder: Path) -> int:
    """The tokens that the extract stage's gathering writes, in the dtype that runs use by default."""
    with tempfile.TemporaryDirectory(dir=folder) as where:
        writing = {
            point.name: StoreWriter.open(
                Path(where) / point.name, point, key="bench", dtype="bfloat16", shard_mb=512, about={}
            )
            for point in points
        }
        return gather(dataset, extractor, points, writing, workers=0).tokens


@dataclass(frozen=True)
class Held:
    """Bytes of tensors alive in the gathering of one batch, in those of its tokens of one step: at the end of the
    second step and of the last, and the most while tokens go into stores."""

    second: float
    last: float
    writing: float


def held(dataset: Dataset, extractor: DiffusionExtractor, at: Sequence[str], folder: Path) -> Held:
    """What one batch holds. What was alive before does not count."""
    points = extractor.resolve([HookConfig(at=one) for one in at])
    gc.collect()
    before, step = alive(), [0]
    stepping: list[int] = []
    writing: list[int] = []
    run, append = extractor.extract_parts, StoreWriter.append

    def parts(rows: Any, inputs: Any, hooks: Any, emit: Callable[[Any], None]) -> None:
        def emitted(part: Any) -> None:
            step[0] = sum(size(batch) for batch in part.tokens.values())
            stepping.append(alive() - before)
            emit(part)

        run(rows, inputs, hooks, emitted)

    def appended(writer: StoreWriter, batch: TokenBatch, through: int) -> None:
        writing.append(alive() - before)
        append(writer, batch, through)

    with replaced(extractor, "extract_parts", parts), replaced(StoreWriter, "append", appended):
        gathered(dataset, extractor, points, folder)
    return Held(stepping[1] / step[0], stepping[-1] / step[0], max(writing) / step[0])


def alive() -> int:
    """Bytes of all tensors that Python knows, parameters left out, each storage once."""
    tensors = [one for one in gc.get_objects() if type(one) is Tensor]
    return sum({one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in tensors}.values())


def size(batch: TokenBatch) -> int:
    """Bytes of tokens."""
    return sum(one.nbytes for one in (batch.values, batch.example, batch.coords, batch.role))


@contextmanager
def replaced(owner: Any, name: str, by: Any) -> Iterator[None]:
    """Another function of this name, within the block."""
    own = name in vars(owner)
    kept = getattr(owner, name)
    setattr(owner, name, by)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, kept)
        else:
            delattr(owner, name)


def prompts(count: int) -> Dataset:
    """The first prompts of the world, with class labels and seeds."""
    return PromptsConfig(table="world:digits", first=count).build()


def build(name: str, dataset: Dataset, steps: int, batch: int) -> DiffusionExtractor:
    """The extractor over one of the denoisers, guidance on: pictures come in two branches, of which one is kept."""
    told = "world:digits/" + ("unet" if name == "wide" else name)
    config = PipelineConfig(model=told, steps=steps, guidance=2.0, batch_size=batch, device="cpu")
    if name != "wide":
        return config.build(dataset)  # type: ignore[return-value]
    process = PipelineProcess(wide(), steps=steps, guidance=config.guidance, size=None, call={})
    return DiffusionExtractor(config, process, dataset)


def wide(channels: tuple[int, int] = (64, 128), side: int = 32) -> Any:
    """A Stable Diffusion pipeline with random weights: what they are changes no time."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={word: n for n, word in enumerate(words)}, merges=[], model_max_length=77)
    begin, end = len(words) - 2, len(words) - 1
    text = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        bos_token_id=begin,
        eos_token_id=end,
        pad_token_id=end,
    )
    unet = UNet2DConditionModel(
        sample_size=side,
        block_out_channels=channels,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=4,
    )
    pipe = StableDiffusionPipeline(
        vae=AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4, sample_size=side),
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    for part in (pipe.vae, pipe.text_encoder, pipe.unet):
        part.eval()
    return pipe


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--of", nargs="*", choices=list(AT), default=list(AT))
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
