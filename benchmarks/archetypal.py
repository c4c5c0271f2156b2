"""What two papers claim, on planted data: archetypal decoders agree between seeds, and one autoencoder serves every k.

python benchmarks/archetypal.py stability
python benchmarks/archetypal.py frontier
python benchmarks/archetypal.py cost --width 768 --latents 4096 --batch 4096 --ks 4 8 16 32 64 --steps 10
"""

import argparse
import statistics
import time
from itertools import combinations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from omnisae.autoencoders.agreement import mean_max_cosine
from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.autoencoders.configs import ArchetypalConfig, MatryoshkaKConfig, StandardConfig, TopKConfig
from omnisae.config import AutoencoderConfig, AuxKConfig
from omnisae.testing.planted import planted


def main() -> None:
    options = _options()
    x, truth = planted(options.width, options.directions, options.active, options.tokens, 0)
    x = x + options.noise * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    held_out, x = x[: options.tokens // 10], x[options.tokens // 10 :]
    print(
        f"{options.directions} directions in {options.width} dimensions, {options.active} active a token, noise "
        f"{options.noise}; {options.latents} latents, {options.steps} steps of {options.batch}"
    )
    {"stability": stability, "frontier": frontier, "cost": cost}[options.claim](x, held_out, truth, options)


def stability(x: Tensor, held_out: Tensor, truth: Tensor, options: argparse.Namespace) -> None:
    """Seeds differ in their draws and batches, and either start from one sample, as those of a run do and as in the
    paper, so that they have their points in common, or each from a sample of its own. Of each: the mean over pairs of
    seeds, and the lowest and highest pair.
    """
    print(f"{'decoder':36}{'one sample':>21}{'own samples':>21}{'EV':>8}{'truth':>8}{'dead':>8}{'tokens/s':>10}")
    for name, (config, like) in _decoders(options).items():
        started = time.perf_counter()
        own = [train(config, x, seed, options, like) for seed in range(options.seeds)]
        rate = options.seeds * options.steps * options.batch / (time.perf_counter() - started)
        common = own[:1] + [train(config, x, seed, options, like, drawn=0) for seed in range(1, options.seeds)]
        agreement = [[matched(a, b, held_out) for a, b in combinations(made, 2)] for made in (common, own)]
        codes = [autoencoder.encode(held_out) for autoencoder in own]
        figures = (
            _mean([explained(a, held_out, c) for a, c in zip(own, codes, strict=True)]),
            _mean([mean_max_cosine(truth, a.decoder_rows()) for a in own]),
            _mean([1 - len(c.latents.unique()) / c.width for c in codes]),
        )
        pairs = "".join(f"{_mean(each):.3f} ({min(each):.3f}–{max(each):.3f})".rjust(21) for each in agreement)
        print(f"{name:36}{pairs}{figures[0]:8.3f}{figures[1]:8.3f}{figures[2]:8.1%}{rate:10,.0f}", flush=True)


def _decoders(options: argparse.Namespace) -> dict[str, tuple[AutoencoderConfig, AutoencoderConfig | None]]:
    """Configs, and the config from whose start a free decoder starts."""

    def topk(unit_norm: bool = True, **decoder: float) -> AutoencoderConfig:
        part = {"decoder": ArchetypalConfig(**decoder)} if decoder else {}
        return _config(options, options.k, unit_norm=unit_norm, **part)

    few, many = options.directions, 8 * options.directions
    return {
        "free": (topk(), None),
        f"free, started at {many} points": (topk(), topk(points=many)),
        f"unit rows, {many} points, δ = 1": (topk(points=many), None),
        f"unit rows, {many} points, δ = 0": (topk(points=many, delta=0), None),
        f"unit rows, {few} points, δ = 0": (topk(points=few, delta=0), None),
        f"the paper's, {many} points, δ = 1": (topk(False, points=many), None),
        f"the paper's, {many} points, δ = 0": (topk(False, points=many, delta=0), None),
        f"the paper's, {few} points, δ = 0": (topk(False, points=few, delta=0), None),
    }


def frontier(x: Tensor, held_out: Tensor, truth: Tensor, options: argparse.Namespace) -> None:
    """Explained variance at several k: of TopK trained at each, of TopK trained at the largest, and of MSAE."""
    ks = tuple(options.ks)
    nested = {
        f"MSAE, {weights}": _config(options, ks[-1], nesting=MatryoshkaKConfig(ks=ks, weights=weights))
        for weights in ("uniform", "reverse")
    }
    whole = {f"TopK at k = {k}": _config(options, k) for k in ks}
    print(f"{'trained':24}" + "".join(f"{f'k = {k}':>9}" for k in ks) + f"{'truth':>9}{'tokens/s':>10}")
    for name, config in (whole | nested).items():
        started = time.perf_counter()
        autoencoder = train(config, x, 0, options)
        rate = options.steps * options.batch / (time.perf_counter() - started)
        autoencoder.activation.k = ks[-1]
        codes = autoencoder.encode(held_out)
        shown = "".join(f"{explained(autoencoder, held_out, codes.largest(k)):9.3f}" for k in ks)
        cosine = mean_max_cosine(truth, autoencoder.decoder_rows())
        print(f"{name:24}{shown}{cosine:9.3f}{rate:10,.0f}", flush=True)


def cost(x: Tensor, held_out: Tensor, truth: Tensor, options: argparse.Namespace) -> None:
    """Medians of steps taken in turns in one process."""
    ks = tuple(options.ks)
    configs = {
        f"TopK, k = {ks[-1]}": _config(options, ks[-1]),
        f"MSAE, {len(ks)} ks up to {ks[-1]}": _config(options, ks[-1], nesting=MatryoshkaKConfig(ks=ks)),
        f"archetypal, {options.points} points": _config(
            options, ks[-1], decoder=ArchetypalConfig(points=options.points, choose="rows")
        ),
    }
    made = {name: Autoencoder(config, options.width, 0) for name, config in configs.items()}
    optimisers = {}
    for name, autoencoder in made.items():
        autoencoder.initialise(x[: options.sample])
        optimisers[name] = torch.optim.Adam(autoencoder.parameters(), lr=options.lr, fused=True)
    seconds: dict[str, list[float]] = {name: [] for name in made}
    for number in range(options.steps + 1):
        batch = x[number * options.batch % (len(x) - options.batch) :][: options.batch]
        for name, autoencoder in made.items():
            started = time.perf_counter()
            _step(autoencoder, optimisers[name], batch)
            if number:
                seconds[name].append(time.perf_counter() - started)
    first = statistics.median(next(iter(seconds.values())))
    for name, each in seconds.items():
        median = statistics.median(each)
        print(f"{name:28}{options.batch / median:10,.0f} tokens/s{median / first:8.2f} times the first's", flush=True)


def train(
    config: AutoencoderConfig,
    x: Tensor,
    seed: int,
    options: argparse.Namespace,
    like: AutoencoderConfig | None = None,
    drawn: int | None = None,
) -> Autoencoder:
    """The smallest possible training loop, through the public contract alone. It starts from the sample that is `drawn`
    (none: the seed's own); a free decoder may start `like` another one.
    """
    sample_of = torch.Generator().manual_seed(2000 + (seed if drawn is None else drawn))
    sample = x[torch.randperm(len(x), generator=sample_of)[: options.sample]]
    generator = torch.Generator().manual_seed(seed + 1000)
    autoencoder = Autoencoder(config, x.shape[1], seed)
    autoencoder.initialise(sample)
    if like is not None:
        other = Autoencoder(like, x.shape[1], seed)
        other.initialise(sample)
        autoencoder.load_state_dict(other.fused_state())
    optimiser = torch.optim.Adam(autoencoder.parameters(), lr=options.lr, fused=True)
    for step in range(options.steps):
        share = step / options.steps
        optimiser.param_groups[0]["lr"] = options.lr * min(1.0, (step + 1) / 50, max(0.02, (1 - share) / 0.3))
        _step(autoencoder, optimiser, x[torch.randint(len(x), (options.batch,), generator=generator)])
    return autoencoder.eval()


def _step(autoencoder: Autoencoder, optimiser: torch.optim.Optimizer, batch: Tensor) -> None:
    out = autoencoder(batch)
    optimiser.zero_grad()
    out.loss.backward()
    autoencoder.before_step()
    optimiser.step()
    autoencoder.after_step(out.fired, len(batch))


def matched(one: Autoencoder, two: Autoencoder, x: Tensor) -> float:
    """Mean cosine of the rows of living latents, matched one to one so that it is largest: the stability of Fel et al.
    2025. (Dead latents stay where they started, which would be stable.)
    """
    mine, other = (a.decoder_rows()[a.encode(x).latents.unique()] for a in (one, two))
    cosines = torch.nn.functional.normalize(mine, dim=1) @ torch.nn.functional.normalize(other, dim=1).T
    rows, columns = linear_sum_assignment(cosines.numpy(), maximize=True)
    return float(cosines[rows, columns].mean())


def explained(autoencoder: Autoencoder, x: Tensor, codes: object) -> float:
    """Explained variance of raw activations."""
    error = (autoencoder.decode(codes).detach() - x).double().square().sum()
    return float(1 - error / (x - x.mean(0)).double().square().sum())


def _mean(figures: list[float]) -> float:
    return sum(figures) / len(figures)


def _config(options: argparse.Namespace, k: int, **parts: object) -> AutoencoderConfig:
    auxk = AuxKConfig(k=min(64, options.latents // 4), dead_after=options.dead_after)
    return AutoencoderConfig(
        latents=options.latents, activation=TopKConfig(k=k), normaliser=StandardConfig(), auxk=auxk, **parts
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("claim", choices=["stability", "frontier", "cost"])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--directions", type=int, default=None, help="none: 32 for stability, 256 for the frontier")
    parser.add_argument("--active", type=int, default=None, help="none: 2 for stability, 16 for the frontier")
    parser.add_argument("--noise", type=float, default=0.1)
    parser.add_argument("--latents", type=int, default=256)
    parser.add_argument("--k", type=int, default=8, help="of stability")
    parser.add_argument("--ks", type=int, nargs="+", default=[2, 4, 8, 16, 32], help="of the frontier")
    parser.add_argument("--points", type=int, default=1024, help="of cost")
    parser.add_argument("--seeds", type=int, default=3, help="of stability")
    parser.add_argument("--tokens", type=int, default=40_000)
    parser.add_argument("--sample", type=int, default=4096, help="tokens from which an autoencoder starts")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--dead-after", type=int, default=10_000)
    options = parser.parse_args()
    stable = options.claim == "stability"
    options.directions = options.directions or (32 if stable else 256)
    options.active = options.active or (2 if stable else 16)
    return options


if __name__ == "__main__":
    main()
