"""The training step, sparse against dense autograd: tokens/s, medians of interleaved runs in one process.

python benchmarks/step.py --width 768 --latents 8192 --k 32 --batch 4096
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.autoencoders.configs import BatchTopKConfig, StandardConfig, TopKConfig
from omnisae.config import AutoencoderConfig, AuxKConfig
from omnisae.testing.planted import planted


def main() -> None:
    options = _options()
    x, _ = planted(options.width, 2 * options.width, 20, 2 * options.batch, 0)
    print(
        f"{options.latents} latents over {options.width} dimensions, k {options.k}, batch {options.batch}, fused Adam"
    )
    for rule in (TopKConfig(k=options.k), BatchTopKConfig(k=options.k)):
        steps = {"sparse": _stepper(rule, x, options, sparse), "dense": _stepper(rule, x, options, dense)}
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        for number in range(options.steps + 1):
            for name, step in steps.items():
                started = time.perf_counter()
                step(x[: options.batch] if number % 2 else x[options.batch :])
                if number:
                    seconds[name].append(time.perf_counter() - started)
        rates = {name: options.batch / statistics.median(runs) for name, runs in seconds.items()}
        told = "  ".join(f"{name} {rate:8,.0f} tokens/s" for name, rate in rates.items())
        print(f"{rule.type:16} {told}  ratio {rates['sparse'] / rates['dense']:.2f}", flush=True)


def sparse(autoencoder: Autoencoder, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The step as it is trained."""
    step = autoencoder(x)
    return step.loss, step.fired


def dense(autoencoder: Autoencoder, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same loss by dense matrices and autograd."""
    with torch.no_grad():
        normal = autoencoder.normaliser(x)[0]
    pre = torch.nn.functional.linear(normal - autoencoder.decoder_bias, autoencoder.encoder, autoencoder.encoder_bias)
    codes = autoencoder.activation(pre)
    error = normal - codes @ autoencoder.decoder - autoencoder.decoder_bias
    return error.square().sum() / (len(x) * autoencoder.variance), (codes > 0).sum(0)


Loss = Callable[[Autoencoder, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def _stepper(
    rule: TopKConfig | BatchTopKConfig, x: torch.Tensor, options: argparse.Namespace, loss: Loss
) -> Callable[[torch.Tensor], None]:
    config = AutoencoderConfig(
        latents=options.latents, activation=rule, normaliser=StandardConfig(), auxk=AuxKConfig(k=0)
    )
    autoencoder = Autoencoder(config, options.width, 0)
    autoencoder.initialise(x[:4096])
    optimiser = torch.optim.Adam(autoencoder.parameters(), lr=1e-3, fused=True)

    def step(batch: torch.Tensor) -> None:
        total, fired = loss(autoencoder, batch)
        optimiser.zero_grad()
        total.backward()
        autoencoder.before_step()
        optimiser.step()
        autoencoder.after_step(fired, len(batch))

    return step


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--latents", type=int, default=8192)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
