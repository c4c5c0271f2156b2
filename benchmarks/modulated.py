"""What `core.modulated` gains at equal sparsity, at every time of a denoiser, over an autoencoder that knows no time.

    python benchmarks/modulated.py unet.safetensors --at mid_block
    python benchmarks/modulated.py dit.safetensors --at transformer_blocks.2 --rule batchtopk --k 8

A denoiser of the world `digits` draws pictures; the outputs of one of its modules, in the branch that is told the
label, are the tokens, with the time as their last entry. Two autoencoders are trained on three quarters of the
pictures, with the same rule, latents, seed and order of tokens: one with `core.standard`, one with `core.modulated`.
Of the other pictures, by time: explained variance in raw units about that time's own mean, which neither is credited
for; latents that fire; the error of the second over that of the first.
"""

import argparse
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.autoencoders.configs import (
    BatchTopKConfig,
    JumpReLUConfig,
    ModulatedConfig,
    StandardConfig,
    TopKConfig,
)
from omnisae.config import AutoencoderConfig
from omnisae_datasets.digits.denoisers import STEPS, load, samples, scheduler
from omnisae_datasets.digits.pictures import LABELS

RULES = {
    "topk": lambda k: TopKConfig(k=k),
    "batchtopk": lambda k: BatchTopKConfig(k=k),
    "jumprelu": lambda k: JumpReLUConfig(l0=k),
}
SAMPLE = 16_384
"""Tokens from which an autoencoder starts."""


def main() -> None:
    options = _options()
    x = activations(options.model, options.at, options.pictures)
    cut = len(x) * 3 // 4
    trained, held = x[:cut].flatten(0, 2), x[cut:]
    standard = StandardConfig(), x.shape[3] - 1
    modulated = ModulatedConfig(per_dimension=options.per_dimension), x.shape[3]
    found = [measured(train(options, part, trained[:, :width]), held, width) for part, width in (standard, modulated)]
    times = held[0, :, 0, -1].tolist()
    print(f"{options.rule}, k {options.k}, {options.latents} latents, {options.steps} steps, seed {options.seed}")
    print("time    explained variance     L0 a token        error, modulated")
    print("        standard  modulated    standard  mod.    over standard")
    for time, a, b in zip(times, zip(*found[0], strict=True), zip(*found[1], strict=True), strict=True):
        print(f"{time:4.0f}    {a[0]:.3f}     {b[0]:.3f}        {a[2]:5.2f}     {b[2]:5.2f}   {b[1] / a[1]:.3f}")
    means = [[sum(column) / len(column) for column in one] for one in found]
    ratios = [b / a for a, b in zip(found[0][1], found[1][1], strict=True)]
    print(
        f"mean    {means[0][0]:.3f}     {means[1][0]:.3f}        {means[0][2]:5.2f}     {means[1][2]:5.2f}   "
        f"{sum(ratios) / len(ratios):.3f}; less at {sum(ratio < 1 for ratio in ratios)} of {len(ratios)} times"
    )


def activations(file: Path, at: str, pictures: int) -> Float[Tensor, "picture step place width"]:
    """The module's outputs while pictures are drawn, the time appended."""
    model, got, drawn = load(file), [], []

    def keep(_module: object, _given: object, output: Tensor | tuple[Tensor, ...]) -> None:
        told = (output[0] if isinstance(output, tuple) else output).chunk(2)[1]
        got.append((told.flatten(2).transpose(1, 2) if told.ndim == 4 else told).clone())

    model.get_submodule(at).register_forward_hook(keep)
    for seed, labels in enumerate((torch.arange(pictures) % len(LABELS)).split(60)):
        got.clear()
        samples(model, labels, seed)
        drawn.append(torch.stack(got, dim=1))
    x, plan = torch.cat(drawn), scheduler()
    plan.set_timesteps(STEPS)
    return torch.cat([x, plan.timesteps.to(x)[None, :, None, None].expand(*x.shape[:3], 1)], dim=3)


def train(options: argparse.Namespace, normaliser: object, x: Float[Tensor, "token width"]) -> Autoencoder:
    """An autoencoder of these tokens: warm-up, constant rate, decay."""
    config = AutoencoderConfig(
        latents=options.latents, activation=RULES[options.rule](options.k), normaliser=normaliser
    )
    autoencoder, generator = Autoencoder(config, x.shape[1], options.seed), torch.Generator().manual_seed(options.seed)
    autoencoder.initialise(x[torch.randperm(len(x), generator=generator)[:SAMPLE]])
    optimiser = torch.optim.Adam(autoencoder.parameters(), lr=options.lr)
    for step in range(options.steps):
        share = step / options.steps
        optimiser.param_groups[0]["lr"] = options.lr * min(1.0, (step + 1) / 50, max(0.02, (1 - share) / 0.3))
        out = autoencoder(x[torch.randint(len(x), (options.batch,), generator=generator)])
        optimiser.zero_grad()
        out.loss.backward()
        autoencoder.before_step()
        optimiser.step()
        autoencoder.after_step(out.fired, options.batch)
    return autoencoder.eval()


@torch.no_grad()
def measured(
    autoencoder: Autoencoder, held: Float[Tensor, "picture step place width"], width: int
) -> tuple[list[float], list[float], list[float]]:
    """By time: explained variance about the time's mean, mean squared error in raw units, and latents that fire."""
    explained, errors, fired = [], [], []
    for step in range(held.shape[1]):
        x = held[:, step].flatten(0, 1)
        codes = autoencoder.encode(x[:, :width])
        inner = x[:, :-1].double()
        errors.append(float((autoencoder.decode(codes)[:, : inner.shape[1]] - inner).square().sum(1).mean()))
        explained.append(1 - errors[-1] / float((inner - inner.mean(0)).square().sum(1).mean()))
        fired.append(len(codes.values) / len(x))
    return explained, errors, fired


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--at", required=True)
    parser.add_argument("--rule", choices=list(RULES), default="topk")
    parser.add_argument("--k", type=int, default=8)
    parser.add_argument("--latents", type=int, default=512)
    parser.add_argument("--per-dimension", action="store_true")
    parser.add_argument("--pictures", type=int, default=240)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
