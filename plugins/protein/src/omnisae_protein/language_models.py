"""Protein language models and their alphabets: fair-esm's, and those of transformers, read without pickles."""

import argparse
import json
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from omnisae.errors import ConfigError, HookError, PluginError, did_you_mean
from omnisae_protein import place
from omnisae_protein.plugin import EsmConfig

WORLD_MODEL = "esm2_motifs"
KEY = "omnisae_esm"
FAIR = {
    "esm2_t6_8M_UR50D": (6, 320, 20),
    "esm2_t12_35M_UR50D": (12, 480, 20),
    "esm2_t30_150M_UR50D": (30, 640, 20),
    "esm2_t33_650M_UR50D": (33, 1280, 20),
    "esm2_t36_3B_UR50D": (36, 2560, 40),
    "esm2_t48_15B_UR50D": (48, 5120, 40),
}
"""Layers, width and heads of ESM-2 (Lin et al. 2023)."""
OTHERS = ("esm1b_t33_650M_UR50S", *(f"esm1v_t33_650M_UR90S_{i}" for i in range(1, 6)))
ADDRESS = "https://dl.fbaipublicfiles.com/fair-esm/models/{name}.pt"


@dataclass(frozen=True)
class LanguageModel:
    """A model with its alphabet. `begin` and `end` are special tokens around a sequence (None: there is none);
    `logits` makes the masked language model's logits of token numbers, None where the model has no such head."""

    model: nn.Module
    numbers: dict[str, int]
    unknown: int
    pad: int
    begin: int | None
    end: int | None
    mask: int | None
    run: Callable[[nn.Module, Tensor, Tensor], Any]
    logits: Callable[[Any], Float[Tensor, "window position letter"]] | None
    source: str


def load(config: EsmConfig) -> LanguageModel:
    """The model that a config names. Raises ConfigError or PluginError where there is none, or it cannot be read."""
    name = config.checkpoint
    fair = config.library == "fair-esm" or (
        config.library == "auto"
        and (name in FAIR or name in OTHERS or name.endswith((".pt", ".safetensors")) or name.startswith(place.SCHEME))
    )
    built = _fair(config) if fair else _transformers(config)
    dtype = getattr(torch, config.dtype)
    built.model.to(dtype)
    return built


def _fair(config: EsmConfig) -> LanguageModel:
    try:
        import esm
    except ImportError as error:
        raise PluginError(
            f"extractor.checkpoint: {config.checkpoint!r} needs fair-esm ({error})", "pip install fair-esm"
        ) from error
    name = config.checkpoint
    if name.startswith(place.SCHEME) or name.endswith(".safetensors"):
        model = _small(esm, place.checkpoint(name, WORLD_MODEL))
    elif name in FAIR and config.untrained:
        layers, width, heads = FAIR[name]
        model = esm.ESM2(num_layers=layers, embed_dim=width, attention_heads=heads, alphabet="ESM-1b")
        warnings.warn(f"{name} has random weights (extractor.untrained)", stacklevel=2)
    elif name.endswith(".pt") or name in FAIR or name in OTHERS:
        model = _checkpoint(esm, name)
    else:
        raise ConfigError(
            f"extractor.checkpoint: fair-esm has no model {name!r}",
            did_you_mean(name, [*FAIR, *OTHERS, "world:motifs"]),
        )
    alphabet: Any = model.alphabet if hasattr(model, "alphabet") else esm.Alphabet.from_architecture("ESM-1b")
    return LanguageModel(
        model,
        dict(alphabet.tok_to_idx),
        alphabet.unk_idx,
        alphabet.padding_idx,
        alphabet.cls_idx if alphabet.prepend_bos else None,
        alphabet.eos_idx if alphabet.append_eos else None,
        alphabet.mask_idx,
        lambda model, tokens, real: model(tokens),
        lambda output: output["logits"],
        "fair-esm",
    )


def _small(esm: Any, path: Path) -> nn.Module:
    """A model as the world's recipe and `omnisae_protein.pretrain` save it: its architecture stands in the metadata."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})[KEY])
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        tensors["lm_head.weight"] = tensors["embed_tokens.weight"]
        model: nn.Module = esm.ESM2(**about["config"])
        model.load_state_dict(tensors)
    except (OSError, SafetensorError, KeyError, TypeError, RuntimeError) as error:
        words = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"extractor.checkpoint: {path} is no ESM-2 with its architecture under {KEY!r}: {words}",
            "give a file of python -m omnisae_protein.pretrain, a .pt of fair-esm, or a folder of transformers",
        ) from error
    return model


@contextmanager
def _harmless() -> Any:
    """fair-esm's checkpoints keep their settings in an argparse.Namespace: of all classes, this one alone is let in."""
    with torch.serialization.safe_globals([argparse.Namespace]):
        yield


def _checkpoint(esm: Any, name: str) -> nn.Module:
    """A checkpoint of fair-esm's form, a local .pt or one by name (fetched once into torch's hub folder)."""
    local = name.endswith(".pt")
    path = Path(name).expanduser() if local else Path(torch.hub.get_dir()) / "checkpoints" / f"{name}.pt"
    if local and not path.is_file():
        near = did_you_mean(path.name, (p.name for p in path.parent.iterdir())) if path.parent.is_dir() else ""
        raise ConfigError(f"extractor.checkpoint: there is no file {path}", near)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(ADDRESS.format(name=name), str(path), progress=False)
        except OSError as error:
            raise ConfigError(
                f"extractor.checkpoint: {name} could not be fetched ({error})",
                f"put {name}.pt into {path.parent}, or name a local .pt; extractor.untrained: true tries a config out",
            ) from error
    try:
        with _harmless():
            data = torch.load(path, map_location="cpu", weights_only=True)
        known = "esm2" if "cfg" in data else path.stem
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Regression weights not found")
            model, _ = esm.pretrained.load_model_and_alphabet_core(known, data, None)
    except Exception as error:  # pickles that are refused, and whatever a foreign file makes the library raise
        words = " ".join(str(error).split())[:300] or type(error).__name__
        raise ConfigError(
            f"extractor.checkpoint: {path} is no checkpoint of fair-esm that can be read safely: {words}",
            "give a .pt of fair-esm's releases, or save weights in the form of transformers",
        ) from error
    found: nn.Module = model
    return found


def _transformers(config: EsmConfig) -> LanguageModel:
    try:
        import transformers
    except ImportError as error:
        raise PluginError(
            f"extractor.checkpoint: {config.checkpoint!r} needs transformers ({error})",
            "pip install 'omnisae-protein[transformers]'",
        ) from error
    name = (
        str(Path(config.checkpoint).expanduser())
        if Path(config.checkpoint).expanduser().is_dir()
        else config.checkpoint
    )
    try:
        about = transformers.AutoConfig.from_pretrained(name)
        tokenizer = transformers.AutoTokenizer.from_pretrained(name)
        model, head = _pick(transformers, about, name, config.untrained)
    except (OSError, ValueError, ImportError) as error:
        words = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"extractor.checkpoint: transformers cannot read {config.checkpoint!r}: {words}",
            "name a folder with config.json, weights and tokenizer, or a hub id that can be reached",
        ) from error
    numbers = {token: number for token, number in tokenizer.get_vocab().items() if len(token.strip("▁")) == 1}
    numbers = {token.strip("▁"): number for token, number in sorted(numbers.items(), reverse=True)}
    return LanguageModel(
        model,
        numbers,
        tokenizer.unk_token_id,
        tokenizer.pad_token_id,
        tokenizer.cls_token_id,
        tokenizer.eos_token_id,
        tokenizer.mask_token_id if head else None,
        lambda model, tokens, real: model(input_ids=tokens, attention_mask=real.long()),
        (lambda output: output.logits) if head else None,
        "transformers",
    )


def _pick(transformers: Any, about: Any, name: str, untrained: bool) -> tuple[nn.Module, bool]:
    """The model, and whether it has a head that names masked residues."""
    kind = about.model_type
    if kind in ("esm", "esmc"):
        which, head = "AutoModelForMaskedLM", True
    elif kind in ("t5", "bert", "roberta"):
        which, head = ("T5EncoderModel", False) if kind == "t5" else ("AutoModelForMaskedLM", True)
    else:
        raise ValueError(f"its model_type is {kind!r}; esm, esmc, t5, bert and roberta are known")
    maker = getattr(transformers, which)
    if untrained:
        warnings.warn(f"{name} has random weights (extractor.untrained)", stacklevel=2)
        model = maker.from_config(about) if which.startswith("Auto") else maker(about)
    else:
        model = maker.from_pretrained(name)
    return model, head


def sizes_of(shape: tuple[int, ...], windows: int, positions: int, what: str) -> str:
    """The pattern of a tensor whose first two dimensions are windows and positions, in either order.

    Raises HookError where they are not.
    """
    if len(shape) == 3 and shape[:2] == (windows, positions):
        return "example {residues} d"
    if len(shape) == 3 and shape[:2] == (positions, windows):
        return "{residues} example d"
    raise HookError(
        f"hook point {what}: a tensor of shape {list(shape)} for {windows} sequences of {positions} tokens has "
        "no token a residue",
        "hook a module that gives one vector a residue, such as a layer, its attention or its MLP",
    )
