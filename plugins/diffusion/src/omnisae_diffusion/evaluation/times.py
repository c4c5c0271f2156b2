"""The study `diffusion.times`."""

from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from omnisae import svg
from omnisae.autoencoders.artifact import Artifact
from omnisae.errors import DatasetError
from omnisae.extract.split import SELECT, TEST
from omnisae.figure import Figure
from omnisae.studies.study import Finding, Findings, Material, Study
from omnisae.tokens.filter import TokenFilter
from omnisae_diffusion.selection.means import TIME


class Times(Study):
    title: ClassVar[str] = "How well is the activation explained at every scheduler time?"
    about: ClassVar[str] = (
        "Explained variance at each time on test examples, 1 − Σ‖x − x̂‖² / Σ‖x − mean‖² of raw activations, where "
        "the mean is that of the select side at this time. Control: as many principal components of the select side "
        "as latents fire on average, all times together."
    )

    def __init__(self, components: bool) -> None:
        self.components = components

    def study(self, material: Material) -> Findings:
        artifact = Artifact.load(material.artifact)
        hook = artifact.info.hook
        if TIME not in hook.told:
            raise DatasetError(
                f"hook point {hook.name!r} lies along {', '.join(hook.axes) or 'no axis'}, and not along time",
                "ask this of a hook point inside the denoiser",
            )
        ticks, width = hook.told[TIME].ticks, hook.own_width
        mean, basis, fired = self._of_select(material, artifact, len(ticks), width)
        errors, spread, plain, tokens = (np.zeros(len(ticks)) for _ in range(4))
        for x, step in self._tokens(material, artifact, TEST):
            decoded = artifact.decode(artifact.encode(x, check=False))[:, :width]
            own = x[:, :width]
            centred = own - mean[step].to(own)
            rest = centred - centred @ basis.to(own) @ basis.T.to(own)
            for total, per_token in (
                (errors, (own - decoded).square().sum(1)),
                (spread, centred.square().sum(1)),
                (plain, rest.square().sum(1)),
                (tokens, torch.ones(len(own))),
            ):
                np.add.at(total, step.numpy(), per_token.double().numpy())
        known = spread > 0
        explained = np.where(known, 1 - errors / np.where(known, spread, 1), np.nan)
        beside = np.where(known, 1 - plain / np.where(known, spread, 1), np.nan)
        rows: list[dict[str, Any]] = [
            {"time": ticks[i], "explained variance": explained[i], "components": beside[i], "tokens": int(tokens[i])}
            for i in range(len(ticks))
            if tokens[i]
        ]
        whole, whole_beside = 1 - errors.sum() / spread.sum(), 1 - plain.sum() / spread.sum()
        worst = int(np.nanargmin(explained))
        against = f"{basis.shape[1]} principal components"
        return Findings(
            findings=[
                Finding("explained variance, all times", float(whole), int(tokens.sum()), float(whole_beside), against,
                        remark=f"{fired:.1f} latents fire on average"),
                Finding("explained variance, the worst time", float(explained[worst]), int(tokens[worst]),
                        float(beside[worst]), against, remark=f"time {ticks[worst]:g}"),
            ],
            figures=[_drawn(rows, against)],
            tables={"By time": rows},
        )  # fmt: skip

    def _of_select(
        self, material: Material, artifact: Artifact, steps: int, width: int
    ) -> tuple[Float[Tensor, "step width"], Float[Tensor, "width component"], float]:
        """Means by time, principal components of what is left, and how many latents fire on average."""
        total, count = torch.zeros(steps, width, dtype=torch.float64), torch.zeros(steps, dtype=torch.float64)
        product, fired, tokens = torch.zeros(width, width, dtype=torch.float64), 0, 0
        for x, step in self._tokens(material, artifact, SELECT):
            own = x[:, :width].double()
            total.index_add_(0, step, own)
            count.index_add_(0, step, torch.ones(len(own), dtype=torch.float64))
            product += own.T @ own
            fired += len(artifact.encode(x, check=False).values)
            tokens += len(x)
        if not tokens:
            raise DatasetError("no token lies on the select side", "extract more examples")
        mean = total / count.clamp(min=1)[:, None]
        within = product - (mean * count[:, None]).T @ mean
        most = max(1, min(width, round(fired / tokens)))
        return mean.float(), torch.linalg.eigh(within).eigenvectors[:, -most:].float(), fired / tokens

    def _tokens(self, material: Material, artifact: Artifact, side: int) -> Any:
        keep: TokenFilter = artifact.info.tokens.select if side == SELECT else artifact.info.tokens.evaluate
        place = artifact.info.hook.axes.index(TIME)
        for batch in material.source.sequential(keep, material.mask(material.rows(side))):
            yield batch.values.float(), batch.coords[:, place].long()


def _drawn(rows: list[dict[str, Any]], against: str) -> Figure:
    """Lines by time, from noise to picture."""
    wide, tall, left, foot = 640, 220, 44, 36
    inner, high = wide - left - 12, tall - foot - 12
    low = min(0.0, *(row[name] for row in rows for name in ("explained variance", "components")))

    def point(at: int, value: float) -> tuple[float, float]:
        x = left + inner * (at / max(len(rows) - 1, 1))
        return x, 12 + high * (1 - (value - low) / (1 - low))

    parts = []
    for value in (0.0, 0.5, 1.0):
        y = point(0, value)[1]
        parts += [
            svg.line(left, y, wide - 12, y, kind="gridline"),
            svg.text(left - 6, y + 4, f"{value:g}", anchor="end"),
        ]
    for name, colour in (("components", "var(--random)"), ("explained variance", "var(--accent)")):
        points = [point(at, row[name]) for at, row in enumerate(rows)]
        parts.append(svg.curve(points, style=f"stroke:{colour};stroke-width:2"))
    for at in sorted({0, len(rows) // 2, len(rows) - 1}):
        anchor = "start" if at == 0 else "end" if at == len(rows) - 1 else "middle"
        parts.append(svg.text(point(at, 0)[0], tall - 18, f"{rows[at]['time']:g}", anchor=anchor))
    parts.append(svg.text(left + inner / 2, tall - 4, "scheduler time, from noise to picture", anchor="middle"))
    told = ", ".join(f"{row['time']:g}: {row['explained variance']:.3f}" for row in rows)
    caption = f"Explained variance by scheduler time; grey: {against}."
    return Figure("text/html", svg.drawing(wide, tall, parts, alt=told), caption, f"By time: {told}", "By time")
