"""The recipe of `esm2_motifs`: a masked language model of ESM-2's shape that reads proteins of the world.

    python -m omnisae_datasets.motifs.train --out DIR [--proteins 36000] [--epochs 1] [--threads 1]

One loss: 15 % of residues are asked for, of which 80 % are masked, 10 % replaced and 10 % left as they are (Devlin et
al. 2019, Lin et al. 2023). No label of any feature is seen. Trained on proteins whose ancestors are of another seed,
measured on the world's. Writes `esm2_motifs.safetensors` (fp16, the architecture in its metadata), `.json` and `.md`.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from omnisae_datasets import recipe
from omnisae_datasets.motifs import model as models
from omnisae_datasets.motifs.pools import AMINO_ACIDS
from omnisae_datasets.motifs.proteins import Protein, protein

NAME = "esm2_motifs"
WORLD_SEED, TRAIN_SEED = 0, 1001
ASKED = 0.15


def drawn(seed: int, count: int, descendants: int) -> list[Protein]:
    """Proteins with so many descendants an ancestor."""
    return [protein(seed, number, max(1, count // descendants)) for number in range(count)]


def grouped(proteins: Sequence[Protein], size: int) -> list[list[Protein]]:
    """Batches of proteins of like length, so that little is padding."""
    by_length = sorted(proteins, key=lambda one: len(one.sequence))
    return [by_length[i : i + size] for i in range(0, len(by_length), size)]


def masked(
    model: Any, whole: Int[Tensor, "example position"], draw: torch.Generator
) -> tuple[Int[Tensor, "example position"], Bool[Tensor, "example position"]]:
    """What the model is shown, and the residues that it is asked for."""
    amino = torch.tensor([model.alphabet.tok_to_idx[letter] for letter in AMINO_ACIDS])
    asked = torch.isin(whole, amino) & (torch.rand(whole.shape, generator=draw) < ASKED)
    kind = torch.rand(whole.shape, generator=draw)
    other = amino[torch.randint(len(amino), whole.shape, generator=draw)]
    shown = torch.where(asked & (kind < 0.8), model.mask_idx, whole)
    return torch.where(asked & (kind >= 0.9), other, shown), asked


def train(count: int, epochs: int, batch: int, lr: float, seed: int, say: Any = recipe.say) -> nn.Module:
    """The trained model, in eval mode."""
    torch.manual_seed(seed)
    model: Any = models.untrained()
    # fair-esm leaves the embedding, which is also the output, at unit variance: logits of ±11 to begin with.
    nn.init.normal_(model.embed_tokens.weight, std=models.CONFIG["embed_dim"] ** -0.5)
    groups = [
        models.tokens(model, [one.sequence for one in group]) for group in grouped(drawn(TRAIN_SEED, count, 2), batch)
    ]
    say(f"{count} proteins drawn, {sum(group.numel() for group in groups):,} tokens")

    def losses(rows: Int[Tensor, " row"], draw: torch.Generator) -> dict[str, Tensor]:
        whole = groups[int(rows[0])]
        shown, asked = masked(model, whole, draw)
        return {"residues": cross_entropy(model(shown)["logits"][asked], whole[asked])}

    weights = [value for name, value in model.named_parameters() if not name.startswith("contact_head")]
    recipe.learn(
        (model,),
        losses,
        torch.optim.AdamW(weights, lr=lr, weight_decay=0.01, betas=(0.9, 0.98)),
        count=len(groups),
        epochs=epochs,
        batch=1,
        seed=seed,
        shares={"residues": 1.0},
        say=say,
    )
    return model.eval()


def measure(model: Any, count: int = 1600) -> recipe.Quality:
    """How well masked residues are recovered, by the feature that they belong to, on proteins of the world."""
    proteins = drawn(WORLD_SEED, count, 10)
    draw = torch.Generator().manual_seed(1)
    found: dict[str, list[tuple[float, float, float]]] = {}
    common = np.bincount([AMINO_ACIDS.index(a) for one in proteins for a in one.sequence], minlength=20)
    usual = dict(zip(AMINO_ACIDS, np.log(common / common.sum()), strict=True))
    for group in grouped(proteins, 32):
        whole = models.tokens(model, [one.sequence for one in group])
        asked = (torch.rand(whole.shape, generator=draw) < ASKED) & (whole > 3) & (whole < 24)
        with torch.inference_mode():
            logits = model(torch.where(asked, model.mask_idx, whole))["logits"].log_softmax(-1)
        right = (logits.argmax(-1) == whole).float()
        chance = logits.gather(-1, whole[..., None])[..., 0]
        for row, one in enumerate(group):
            where = told(one)
            for at in asked[row].nonzero().flatten().tolist():
                entry = (float(right[row, at]), float(chance[row, at]), usual[one.sequence[at - 1]])
                for key in ("all residues", *where.get(at - 1, ())):
                    found.setdefault(key, []).append(entry)
    rows = {}
    for key in sorted(found):
        part = np.array(found[key])
        rows[key] = {
            "accuracy": round(float(part[:, 0].mean()), 3),
            "perplexity": round(float(np.exp(-part[:, 1].mean())), 2),
            "usual": round(float(np.exp(-part[:, 2].mean())), 2),
            "n": len(part),
        }
    words = {
        "accuracy": "accuracy",
        "perplexity": "perplexity",
        "usual": "perplexity of the residues' frequencies",
        "n": "masked residues",
    }
    return recipe.Quality("proteins", count, WORLD_SEED, "feature", rows, ("accuracy", "perplexity"), words)


def told(one: Protein) -> dict[int, list[str]]:
    """The features of every residue that has some."""
    out: dict[int, list[str]] = {}
    for feature in one.features:
        ends = feature.key == "DISULFID"
        for at in (feature.first, feature.last) if ends else range(feature.first, feature.last + 1):
            out.setdefault(at, []).append(" ".join(filter(None, (feature.key, feature.note, feature.ligand))))
    return out


def save(out: Path, model: nn.Module, steps: dict[str, Any], measured: recipe.Quality) -> None:
    """`esm2_motifs.safetensors` and its card."""
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    tensors = recipe.halved(model)
    about = {"class": "ESM2", "config": models.CONFIG}
    tensors.pop("lm_head.weight")  # is the embedding
    save_file(tensors, out / f"{NAME}.safetensors", metadata={models.KEY: json.dumps(about, sort_keys=True)})
    card = {"name": NAME, **about, "recipe": steps, "quality": measured.card()}
    (out / f"{NAME}.json").write_text(json.dumps(card, indent=1) + "\n")
    count = sum(value.numel() for value in tensors.values())
    told_steps = "\n".join(f"- {key}: {value}" for key, value in steps.items())
    (out / f"{NAME}.md").write_text(
        f"# {NAME}\n\nfair-esm's `ESM2` ({count:,} weights, stored in fp16): a masked language model of proteins of "
        f"the world\n`motifs`. It has seen sequences alone. `{steps['command']} --out DIR` makes it anew.\n\n"
        f"## Recipe\n{told_steps}\n\n## Quality\nMasked residues recovered, by the feature in which they lie. "
        f"{measured.told()}"
    )


def main() -> None:
    asked = recipe.arguments(
        "Train esm2_motifs on the world `motifs`.", "proteins", count=36_000, epochs=1, batch=16, lr=2e-3
    )
    started = time.time()
    model = train(asked.count, asked.epochs, asked.batch, asked.lr, asked.seed)
    steps = {
        "command": f"python -m omnisae_datasets.motifs.train --proteins {asked.count} --epochs {asked.epochs}",
        "proteins": asked.count,
        "protein_seed": TRAIN_SEED,
        "epochs": asked.epochs,
        "batch": f"{asked.batch} of like length",
        "peak_lr": asked.lr,
        "optimiser": "AdamW, weight decay 0.01, betas 0.9 and 0.98, one cycle",
        "seed": asked.seed,
        "loss": "cross entropy of the 15 % of residues asked for (80 % masked, 10 % replaced, 10 % kept)",
        "torch": torch.__version__,
        "minutes": round((time.time() - started) / 60, 1),
    }
    recipe.halved(model)
    measured = measure(model)
    save(asked.out, model, steps, measured)
    print(json.dumps(measured.rows["all residues"]))


if __name__ == "__main__":
    main()
