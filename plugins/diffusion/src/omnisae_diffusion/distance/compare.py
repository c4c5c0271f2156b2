"""FID and KID of generated against natural pictures, each beside what two halves of the natural set give."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from omnisae.errors import DatasetError
from omnisae.studies.study import Finding
from omnisae_diffusion.distance.features import Featuriser, featuriser
from omnisae_diffusion.distance.frechet import frechet
from omnisae_diffusion.distance.kernel import Kernel, kernel
from omnisae_diffusion.distance.library import Features, ordered
from omnisae_diffusion.picture_set import Pictures, check
from omnisae_diffusion.plugin_distance import DistanceConfig

AGAINST = "two halves of the natural pictures"


@dataclass(frozen=True)
class Distances:
    """Distances of `generated` from `natural` pictures, on `features` numbers a picture of the model `model`.

    `fid` and `kid` are over all pictures. `fid_matched` and `kid_matched` compare `matched` generated pictures with as
    many natural ones, and so stand fairly beside `fid_control` and `kid_control`, the distances of as many natural
    pictures from as many others.
    """

    model: str
    features: int
    generated: int
    natural: int
    fid: float
    kid: Kernel
    matched: int
    fid_matched: float
    kid_matched: Kernel
    fid_control: float
    kid_control: Kernel
    warnings: tuple[str, ...]

    def findings(self) -> list[Finding]:
        """The numbers as a study tells them."""
        said = f"{self.generated} generated, {self.natural} natural pictures; features: {self.model}"
        fair = f"{self.matched} pictures on either side"
        return [
            Finding("FID", self.fid, self.generated, remark=said),
            Finding("FID, equal counts", self.fid_matched, self.matched, self.fid_control, AGAINST, remark=fair),
            Finding("KID", self.kid.value, self.generated, remark=f"{said}; {_spread(self.kid)}"),
            Finding(
                "KID, equal counts",
                self.kid_matched.value,
                self.matched,
                self.kid_control.value,
                AGAINST,
                remark=f"{fair}; {_spread(self.kid_matched)}",
            ),
        ]


class Comparison:
    """Compares sets of pictures as a config says. The model is built at the first comparison and kept."""

    def __init__(self, config: DistanceConfig) -> None:
        self.config = config
        self._sample: Pictures | None = None

    def __call__(self, generated: Pictures, natural: Pictures, seed: int = 0) -> Distances:
        """Distances of generated from natural pictures, 8-bit RGB; the two sets may differ in size and in resolution.

        Raises DatasetError where pictures have another form or are too few, ConfigError as the model does.
        """
        check(generated, "generated pictures")
        self._sample = check(natural, "natural pictures")
        name, make = self._model
        return compare(make(generated), make(natural), name, self.config, seed)

    @cached_property
    def _model(self) -> tuple[str, Featuriser]:
        return featuriser(self.config, check(self._sample))


def compare(
    generated: Features, natural: Features, model: str = "features", config: DistanceConfig | None = None, seed: int = 0
) -> Distances:
    """Distances between features that are at hand, a row a picture. Raises DatasetError where there are fewer than two
    generated or four natural pictures."""
    config = config or DistanceConfig()
    if len(natural) < 4:
        raise DatasetError(
            f"there are {len(natural)} natural pictures; two halves of two need four", "give more natural pictures"
        )
    random = np.random.default_rng([seed, *b"distance"])
    matched = min(len(generated), len(natural) // 2)
    one, other = np.split(random.permutation(len(natural))[: 2 * matched], 2)
    some = random.permutation(len(generated))[:matched]
    # Sorted before anything is drawn, so that the order of the pictures decides nothing.
    generated, natural = ordered(generated), ordered(natural)

    def by_kernel(first: Features, second: Features) -> Kernel:
        return kernel(first, second, config.subsets, config.subset_size, seed)

    return Distances(
        model=model,
        features=natural.shape[1],
        generated=len(generated),
        natural=len(natural),
        fid=frechet(generated, natural),
        kid=by_kernel(generated, natural),
        matched=matched,
        fid_matched=frechet(generated[some], natural[one]),
        kid_matched=by_kernel(generated[some], natural[one]),
        fid_control=frechet(natural[one], natural[other]),
        kid_control=by_kernel(natural[one], natural[other]),
        warnings=tuple(_warnings(len(generated), len(natural), natural.shape[1])),
    )


def _warnings(generated: int, natural: int, features: int) -> list[str]:
    few = [f"{n} {name}" for n, name in ((generated, "generated"), (natural, "natural")) if n <= features]
    if not few:
        return []
    return [
        f"FID is biased upwards here: {' and '.join(few)} pictures are too few to fit {features} features. Compare it "
        "with FIDs of equal counts alone, or read KID, which is not biased."
    ]


def _spread(found: Kernel) -> str:
    return f"± {found.spread:.3g} over {found.subsets} subsets of {found.size}"
