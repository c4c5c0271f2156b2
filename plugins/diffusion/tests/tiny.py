"""Tiny, randomly initialised pipelines of the true diffusers classes, made offline.

Every one has the block structure and the depth of the model it stands for, so that the paths of the real one
(`unet.up_blocks.1.attentions.1`, `transformer.single_transformer_blocks.9`, `text_encoder_2.encoder.block.23`)
exist; only widths, vocabularies and pictures are small. A call with `draw` makes 64×64 pictures in two steps.

With a folder, a maker writes the pipeline there with `save_pretrained` and gives back what loading that folder gives.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    DiTPipeline,
    DiTTransformer2DModel,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    PixArtAlphaPipeline,
    PixArtTransformer2DModel,
    PNDMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    UNet2DModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

PIXELS = 64
WORDS = (
    *("a", "an", "the", "of", "in", "photo", "picture", "painting", "style", "cat", "dog", "tree", "house"),
    *("red", "blue", "green", "seven", "ink", "chalk", "neon", "stamp"),
)
SD_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
CALLS: dict[str, dict[str, Any]] = {  # what a call needs beyond the prompt: the classes' defaults are for large models
    "PixArtAlphaPipeline": {"use_resolution_binning": False, "clean_caption": False, "max_sequence_length": 16},
    "FluxPipeline": {"height": PIXELS, "width": PIXELS, "max_sequence_length": 16},
    "StableDiffusion3Pipeline": {"max_sequence_length": 16},
    "StableDiffusionXLPipeline": {"guidance_scale": 0.0},
}


def clip_tokenizer(length: int = 77) -> CLIPTokenizer:
    """Byte-pair encoding over letters and digits, with one merged token for each of WORDS; `length` tokens a prompt."""
    letters = [chr(code) for code in range(33, 127)]
    tokens = dict.fromkeys([*letters, *(letter + "</w>" for letter in letters)])
    merges: dict[tuple[str, str], None] = {}
    for word in WORDS:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            merges[parts[0], parts[1]] = None
            parts[:2] = [parts[0] + parts[1]]
            tokens[parts[0]] = None
    vocabulary = {token: number for number, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=list(merges), model_max_length=length)


def t5_tokenizer() -> T5Tokenizer:
    """A unigram vocabulary of WORDS and of single letters."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -4.0)]
    pieces += [("▁" + word, -2.0) for word in WORDS] + [(chr(code), -6.0) for code in range(33, 127)]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)


def _clip(width: int, layers: int, tokenizer: CLIPTokenizer, projection: int | None = None) -> Any:
    """Since transformers 5 the layers are `encoder.layers`; with a projection, `text_model.encoder.layers`."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length,
        projection_dim=projection or width,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
    )
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)


def _t5(width: int, tokenizer: T5Tokenizer) -> T5EncoderModel:
    shape = {"d_model": width, "d_kv": width // 2, "num_heads": 2, "d_ff": 2 * width, "num_layers": 24}
    return T5EncoderModel(T5Config(vocab_size=len(tokenizer), feed_forward_proj="gated-gelu", **shape))


def _vae(latents: int = 4, **more: Any) -> AutoencoderKL:
    """Three levels: a picture of 64×64 pixels is a latent picture of 16×16."""
    return AutoencoderKL(
        block_out_channels=(8, 8, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=latents,
        norm_num_groups=4,
        sample_size=PIXELS,
        **more,
    )


def _made(pipeline: Any, folder: Path | None) -> Any:
    if folder is not None:
        pipeline.save_pretrained(folder)
        pipeline = type(pipeline).from_pretrained(folder, local_files_only=True)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()  # what is built, unlike what is loaded, is in training mode, where T5 and DiT drop out
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _seeded(make: Callable[..., Any]) -> Callable[..., Any]:
    """The same weights for the same seed, without touching the caller's random numbers."""

    def maker(folder: Path | None = None, *, seed: int = 0, **more: Any) -> Any:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return _made(make(**more), folder)

    maker.__name__, maker.__doc__ = make.__name__, make.__doc__
    return maker


@_seeded
def stable_diffusion() -> StableDiffusionPipeline:
    """Stable Diffusion 1.5: four levels of U-Net, a CLIP text encoder of 12 layers, PNDM."""
    tokenizer = clip_tokenizer()
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(8, 16, 16, 16),
        down_block_types=(*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
        up_block_types=("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    return StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=_clip(16, 12, tokenizer),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=PNDMScheduler(skip_prk_steps=True, **SD_BETAS),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@_seeded
def sdxl_turbo() -> StableDiffusionXLPipeline:
    """SDXL-Turbo: three levels of U-Net with 0, 2 and 10 transformer layers a block, two text encoders (12, 32)."""
    tokenizer = clip_tokenizer()
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(8, 16, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        cross_attention_dim=8 + 16,
        attention_head_dim=(1, 2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=16 + 6 * 8,
        norm_num_groups=4,
    )
    return StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=_clip(8, 12, tokenizer),
        text_encoder_2=_clip(16, 32, tokenizer, projection=16),
        tokenizer=tokenizer,
        tokenizer_2=clip_tokenizer(),
        unet=unet,
        scheduler=EulerAncestralDiscreteScheduler(timestep_spacing="trailing", **SD_BETAS),
        add_watermarker=False,
    )


@_seeded
def pixart() -> PixArtAlphaPipeline:
    """PixArt-α: 28 blocks, T5 of 24 layers; the denoiser learns a variance as well."""
    tokenizer = t5_tokenizer()
    transformer = PixArtTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        out_channels=8,
        cross_attention_dim=16,
        caption_channels=24,
        sample_size=16,
        use_additional_conditions=False,
    )
    return PixArtAlphaPipeline(tokenizer, _t5(24, tokenizer), _vae(), transformer, DPMSolverMultistepScheduler())


@_seeded
def flux(guidance_embeds: bool = False) -> FluxPipeline:
    """Flux: 19 blocks of two streams, 38 of one, CLIP and T5; `guidance_embeds` as in dev, without as in schnell."""
    tokenizer, pieces = clip_tokenizer(), t5_tokenizer()
    transformer = FluxTransformer2DModel(
        in_channels=16,
        num_attention_heads=2,
        attention_head_dim=16,
        joint_attention_dim=24,
        pooled_projection_dim=16,
        axes_dims_rope=(4, 6, 6),
        guidance_embeds=guidance_embeds,
    )
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=guidance_embeds),
        vae=_vae(shift_factor=0.1, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=_clip(16, 12, tokenizer),
        tokenizer=tokenizer,
        text_encoder_2=_t5(24, pieces),
        tokenizer_2=pieces,
        transformer=transformer,
    )


@_seeded
def sd3() -> StableDiffusion3Pipeline:
    """Stable Diffusion 3: 24 blocks of two streams, two CLIPs and T5."""
    tokenizer, pieces = clip_tokenizer(), t5_tokenizer()
    transformer = SD3Transformer2DModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        num_layers=24,
        num_attention_heads=2,
        attention_head_dim=8,
        joint_attention_dim=24,
        caption_projection_dim=16,
        pooled_projection_dim=8 + 16,
        pos_embed_max_size=16,
    )
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_vae(shift_factor=0.1, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=_clip(8, 12, tokenizer, projection=8),
        tokenizer=tokenizer,
        text_encoder_2=_clip(16, 32, tokenizer, projection=16),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=_t5(24, pieces),
        tokenizer_3=pieces,
    )


@_seeded
def dit() -> DiTPipeline:
    """DiT-XL/2: 28 blocks, 1,000 classes (the pipeline's own "no class" is number 1000), a learned variance."""
    transformer = DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, out_channels=8, num_layers=28, sample_size=16
    )
    names = {number: f"thing {number}" for number in range(1000)}
    return DiTPipeline(transformer, _vae(), DDIMScheduler(), id2label=names)


def unet2d(folder: Path | None = None, *, classes: int | None = 10, seed: int = 0) -> tuple[UNet2DModel, DDIMScheduler]:
    """A bare U-Net over 16×16 pictures and its scheduler, no pipeline; label `classes` is "no class".

    With a folder: `folder/unet` and `folder/scheduler`, without a `model_index.json`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DModel(
            sample_size=16,
            block_out_channels=(8, 16),
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            attention_head_dim=8,
            norm_num_groups=4,
            num_class_embeds=None if classes is None else classes + 1,
        )
    scheduler = DDIMScheduler()
    if folder is not None:
        unet.save_pretrained(folder / "unet")
        scheduler.save_pretrained(folder / "scheduler")
        unet = UNet2DModel.from_pretrained(folder, subfolder="unet", local_files_only=True)
        scheduler = DDIMScheduler.from_pretrained(folder, subfolder="scheduler", local_files_only=True)
    return unet.eval(), scheduler


PIPELINES: dict[str, Callable[..., Any]] = {
    make.__name__: make for make in (stable_diffusion, sdxl_turbo, pixart, flux, sd3, dit)
}


def draw(pipeline: DiffusionPipeline, prompt: str | list[str] = "a photo of a cat", seed: int = 0, **more: Any) -> Any:
    """The pictures, (n, 3, 64, 64) from 0 to 1, of a call with two steps; every picture starts from the same noise.

    `more` goes to the pipeline; DiT, which has no prompts, takes their lengths for class labels.
    """
    prompts = [prompt] if isinstance(prompt, str) else prompt
    labels = isinstance(pipeline, DiTPipeline)
    given = {"class_labels": [len(one) for one in prompts]} if labels else {"prompt": prompts}
    given |= {"num_inference_steps": 2, "output_type": "pt", **CALLS.get(type(pipeline).__name__, {}), **more}
    count = len(prompts) * given.get("num_images_per_prompt", 1)
    return pipeline(**given, generator=[torch.Generator().manual_seed(seed) for _ in range(count)]).images
