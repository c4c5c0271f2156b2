"""How well autoencoders find planted directions: mean max cosine, dead share, explained variance, L0 at inference.

python benchmarks/recovery.py --width 256 --directions 1024 --active 16 --steps 2000
"""

import argparse
import time

import torch

from omnisae.autoencoders.agreement import mean_max_cosine
from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.autoencoders.configs import (
    BatchTopKConfig,
    JumpReLUConfig,
    L1Config,
    MatryoshkaConfig,
    ReLUConfig,
    StandardConfig,
    TopKConfig,
)
from omnisae.config import AutoencoderConfig, AuxKConfig
from omnisae.testing.planted import planted


def main() -> None:
    options = _options()
    torch.manual_seed(options.seed)
    x, truth = planted(options.width, options.directions, options.active, options.tokens, options.seed)
    held_out, x = x[: options.tokens // 10], x[options.tokens // 10 :]
    print(f"{options.directions} directions in {options.width} dimensions, {options.active} active a token")
    print(f"{'rule':24}{'cosine':>8}{'dead':>8}{'EV':>8}{'L0':>8}{'tokens/s':>10}")
    for name, config in _configs(options).items():
        if options.only and name.split()[-1] not in options.only and name.split()[0] not in options.only:
            continue
        started = time.perf_counter()
        autoencoder = train(config, x, options)
        seconds = time.perf_counter() - started
        codes = autoencoder.encode(held_out)
        error = (autoencoder.decode(codes).detach() - held_out).double().square().sum()
        explained = 1 - error / (held_out - held_out.mean(0)).double().square().sum()
        fired = torch.zeros(autoencoder.latents).index_add_(0, codes.latents, torch.ones(len(codes.latents)))
        cosine = mean_max_cosine(truth, autoencoder.decoder_rows())
        print(
            f"{name:24}{cosine:8.3f}{float((fired == 0).float().mean()):8.1%}"
            f"{float(explained):8.3f}{len(codes.values) / len(held_out):8.2f}"
            f"{options.steps * options.batch / seconds:10,.0f}",
            flush=True,
        )


def train(config: AutoencoderConfig, x: torch.Tensor, options: argparse.Namespace) -> Autoencoder:
    """The smallest possible training loop, through the public contract alone."""
    generator = torch.Generator().manual_seed(options.seed)
    autoencoder = Autoencoder(config, x.shape[1], options.seed)
    autoencoder.initialise(x[:8192])
    optimiser = torch.optim.Adam(autoencoder.parameters(), lr=options.lr, fused=True)
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


def _configs(options: argparse.Namespace) -> dict[str, AutoencoderConfig]:
    k, latents = options.active, options.latents or options.directions
    auxk = AuxKConfig(k=min(256, latents // 4), weight=1 / 32, dead_after=options.dead_after)
    shared = {"latents": latents, "normaliser": StandardConfig(), "auxk": auxk}
    nesting = MatryoshkaConfig(prefixes=(0.125, 0.25, 0.5, latents))
    l1 = L1Config(weight=options.l1, warmup=options.batch * options.steps // 10)
    return {
        "TopK": AutoencoderConfig(activation=TopKConfig(k=k), **shared),
        "BatchTopK": AutoencoderConfig(activation=BatchTopKConfig(k=k), **shared),
        "JumpReLU": AutoencoderConfig(
            activation=JumpReLUConfig(l0=k, weight=options.l0_weight, bandwidth=options.bandwidth), **shared
        ),
        "ReLU + L1": AutoencoderConfig(activation=ReLUConfig(), penalties=(l1,), **shared),
        "Matryoshka BatchTopK": AutoencoderConfig(activation=BatchTopKConfig(k=k), nesting=nesting, **shared),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--directions", type=int, default=1024)
    parser.add_argument("--active", type=int, default=16)
    parser.add_argument("--latents", type=int, default=None, help="none: as many as there are directions")
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--l1", type=float, default=0.03)
    parser.add_argument("--l0-weight", type=float, default=1.0)
    parser.add_argument("--bandwidth", type=float, default=0.05)
    parser.add_argument("--dead-after", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="first or last words of the rules' names")
    return parser.parse_args()


if __name__ == "__main__":
    main()
