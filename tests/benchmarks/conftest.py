"""A run of `make bench`, made up: one race of each kind that the page and the targets look for."""

import sys
from pathlib import Path
from typing import Any

import pytest

# `benchmarks` is no distribution: it is found from the repository's root, wherever pytest was started.
sys.path.insert(0, str(Path(__file__).parents[2]))

SETTING = {"rule": "topk", "latents": 8192, "width": 768, "k": 32, "batch": 4096, "lr": 1e-3, "device": "cpu"}
MIB = 2**20


def contestant(
    seconds: list[float],
    *,
    peer: bool = False,
    steps: int = 1,
    curve: dict[int, float] | None = None,
    extra: float = 100,
    **answers: float,
) -> dict[str, Any]:
    """`curve`: explained variance by steps, each of which took a tenth of a second."""
    looks = {"dead_share": 0.1, "mean_max_cosine": 0.5, "l0": 32.0}
    return {
        "peer": peer,
        "rounds": [{"steps": steps, "seconds": one} for one in seconds],
        "curve": [{"steps": n, "seconds": n / 10, "explained_variance": v, **looks} for n, v in (curve or {}).items()],
        "memory": {"peak": 0, "baseline": 0, "weights": 0, "optimiser": 0, "extra": int(extra * MIB)},
        "answers": answers,
        "versions": {"torch": "2.0"},
    }


def race(title: str, contestants: dict[str, Any], **setting: Any) -> dict[str, Any]:
    return {"title": title, "setting": SETTING | setting, "contestants": contestants, "absent": {}}


@pytest.fixture
def run() -> dict[str, Any]:
    """Steps take 0.2 s for omnisae, 1 s for one peer and 2 s for the other."""
    fast, slow = (
        contestant([1.0, 1.1, 1.0], peer=True, curve={14: 0.2, 40: 0.3}, extra=800),
        contestant([2.0] * 3, peer=True),
    )
    ours = {"omnisae exact": contestant([0.2] * 3, curve={14: 0.25, 40: 0.31, 80: 0.5}, extra=200)}
    ours["omnisae mixed"] = contestant([0.1, 0.1, 0.2], curve={40: 0.3, 80: 0.4}, extra=300, agreement=0.9995)
    product = {"product bf16": contestant([0.05] * 3)}
    peers = {"eai-sparsify": fast, "dictionary-learning": slow}
    engine = {
        "omnisae mixed": contestant([0.8] * 3, steps=8),
        "from a cold store": contestant([0.9] * 3, steps=8),
        "1 in one pass": contestant([0.3] * 3, steps=3, extra=100),
        "8 in one pass": contestant([0.6] * 3, extra=700),
    }
    return {
        "kind": "full",
        "finished": True,
        "date": "2030-01-02T03:04:05+00:00",
        "commit": "0123456789abcdef",
        "changed": False,
        "python": "3.11.0",
        "machine": {"cpu": "Some CPU", "cores": 2, "flags": ["avx2"], "memory_gib": 16.0, "gpu": None},
        "races": {
            "topk": race("TopK, 8192 latents", peers | ours | product),
            "batchtopk": race("BatchTopK, 8192 latents", {"dictionary-learning": slow} | ours, rule="batchtopk"),
            "engine": race("The engine", engine),
            "scaling_latents_2048": race("TopK, latents 2,048", peers | ours, latents=2048),
            "scaling_latents_4096": race("TopK, latents 4,096", peers | ours, latents=4096),
            "scaling_k_8": race("TopK, k 8", peers | ours, k=8),
        },
    }
