"""The races of `make bench`, and of its QUICK form."""

from benchmarks.bench.race import Race
from benchmarks.bench.setting import (
    Entry,
    Setting,
    dictionary_learning,
    from_store,
    in_one_pass,
    ours,
    overcomplete,
    product,
    sae_lens,
    sae_lens_fast,
    sparsify,
    to_postings,
)

ROWS, HELD_OUT = 262_144, 4_096
FEWER_ROWS = 65_536
"""Rows of data of another width than the base's, where speed alone is measured."""
PRODUCTS = (product("bf16"), product("fp32 MKL"), product("fp32 oneDNN"))
AGREEMENT = ("agreement",)
BASE = Setting()
BATCHTOPK = BASE.but(rule="batchtopk")
WIDE = BASE.but(latents=32_768)

LEFT_OUT = """QUICK leaves out: sae-lens and overcomplete; omnisae's bf16 mode; the encoder product in fp32; all peers
but eai-sparsify at 32,768 latents; long trainings (it judges quality after tens of steps, the whole benchmark after
hundreds, and BatchTopK's after equal seconds only); scaling over latents, width, k, batch and autoencoders per pass."""


def quick() -> list[Race]:
    """TopK and BatchTopK at 8192 latents beside the two peers that install at once, in less than six minutes."""
    return [
        Race(
            "topk",
            "TopK, 8192 latents",
            (
                sparsify(4),
                dictionary_learning(),
                ours("exact", 8),
                ours("mixed", 12, AGREEMENT),
                product("bf16"),
            ),
            BASE,
            rounds=10,
            marks=frozenset({12, 42, 82, 122}),
            seconds=150,
        ),
        Race(
            "batchtopk",
            "BatchTopK, 8192 latents",
            (dictionary_learning(), ours("exact", 4), ours("mixed", 6)),
            BATCHTOPK,
            rounds=7,
            marks=frozenset({9, 30, 44}),
            seconds=65,
        ),
        Race("topk_32768", "TopK, 32,768 latents", (sparsify(), ours("mixed", 3)), WIDE, rounds=5, seconds=45),
        Race("engine", "The engine around the step", _engine(), BASE, rounds=4, seconds=60),
    ]


def full() -> list[Race]:
    """Everything. About twenty minutes on two cores."""
    peers = (sparsify(6), dictionary_learning(2), sae_lens(), sae_lens_fast(4), overcomplete(2))
    return [
        Race(
            "topk",
            "TopK, 8192 latents",
            (*peers, ours("exact", 16), ours("mixed", 24, AGREEMENT), ours("bf16", 8), *PRODUCTS),
            BASE,
            rounds=14,
            marks=frozenset({12, 26, 50, 86, 146, 226, 338}),
            seconds=420,
        ),
        Race(
            "batchtopk",
            "BatchTopK, 8192 latents",
            (
                dictionary_learning(2),
                sae_lens(),
                sae_lens_fast(2),
                overcomplete(2),
                ours("exact", 8),
                ours("mixed", 12),
            ),
            BATCHTOPK,
            rounds=7,
            marks=frozenset({12, 16, 26, 50, 86}),
            seconds=200,
        ),
        Race(
            "topk_32768",
            "TopK, 32,768 latents",
            (
                sparsify(),
                dictionary_learning(),
                sae_lens_fast(),
                ours("exact", 2),
                ours("mixed", 3),
                ours("bf16", 2),
                product("bf16"),
            ),
            WIDE,
            rounds=5,
            seconds=120,
        ),
        Race("engine", "The engine around the step", _engine(), BASE, rounds=6, seconds=90),
        *scaling(),
        Race(
            "passes",
            "Autoencoders in one pass",
            tuple(in_one_pass(jobs, "mixed") for jobs in (1, 2, 4, 8)),
            BASE,
            rounds=5,
            seconds=60,
        ),
    ]


def scaling() -> list[Race]:
    """One setting changed at a time, about the base's. Each race is named `scaling_<field>_<value>`."""
    values = {
        "latents": (2_048, 16_384, 65_536),
        "width": (384, 1_536),
        "k": (8, 128),
        "batch": (1_024, 16_384),
    }
    return [
        Race(
            f"scaling_{field}_{value}",
            f"TopK, {field} {value:,}",
            (sparsify(), ours("exact", 2), ours("mixed", 2), product("bf16", 2)),
            BASE.but(**{field: value}),
            rounds=4,
            seconds=40,
        )
        for field, several in values.items()
        for value in several
    ]


def gpu(latents: tuple[int, ...], widths: tuple[int, ...]) -> list[Race]:
    """Where CUDA is at hand. eai-sparsify with its Triton decoder and bf16 autocast, which it switches on by itself."""
    return [
        Race(
            f"gpu_{count}_{width}",
            f"TopK on a GPU, {count:,} latents, width {width:,}",
            (sparsify(10), ours("mixed", 10), ours("bf16", 10), product("bf16", 10)),
            Setting(latents=count, width=width, k=64, batch=16_384, device="cuda"),
            rounds=8,
        )
        for count in latents
        for width in widths
    ]


def _engine() -> tuple[Entry, ...]:
    """What stands around the step: reading, several autoencoders in one pass, encoding."""
    return (
        ours("mixed", 8),
        from_store("mixed", 8),
        in_one_pass(1, "mixed", 3),
        in_one_pass(8, "mixed"),
        to_postings(),
        product("bf16", 4),
    )
