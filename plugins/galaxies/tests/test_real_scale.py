"""The configs of the real scale: true architectures with random weights, on cut-outs laid out as a survey's are."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omnisae.config_file import load
from omnisae.pipeline import run
from omnisae_galaxies.trees import TREES

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "galaxies"
FEW = (
    "extractor.pretrained=false",
    "extractor.device=cpu",
    "extractor.batch_size=16",
    "train.batch=64",
    "train.precision=exact",
    "score.effects=0",
    "score.min_positives=1",
    "report.latents=2",
    "report.examples=2",
)


def survey(root: Path, tree: str, column: str, n: int, counts: bool) -> Path:
    """Noise as JPEG files below `root/cutouts_jpg/<tile>` (a minus is NEG in their names), and a parquet table of what
    is thought of them: fractions that were predicted, or votes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(0)
    ids = [f"Q1_R1_102018{i % 3:03d}_{i:03d}{'-' if i % 2 else ''}512" for i in range(n)]
    for name in ids:
        path = root / "cutouts_jpg" / name[:15] / f"{name.replace('-', 'NEG')}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (60, 60, 3), dtype=np.uint8)).save(path)
    table: dict[str, object] = {"id_str": ids}
    for name, question in TREES[tree].items():
        shares = random.dirichlet(np.ones(len(question.answers)), n)
        values = random.poisson(40 * shares) if counts else shares
        for answer, part in zip(question.answers, values.T, strict=True):
            table[column.format(question=name, answer=answer)] = part
    places = {"right_ascension": (265, 272), "declination": (62, 67), "mag_segmentation": (17, 21)}
    table |= {name: random.uniform(*ends, n) for name, ends in places.items()}
    table["segmentation_area"] = random.integers(700, 9000, n)
    pq.write_table(pa.table(table), root / "catalogue.parquet")
    return root


@pytest.mark.slow
def test_euclids_config_runs_with_random_weights(tmp_path):
    """Pooled vectors of 640 values of a ConvNeXt-Nano; joined by ids in which NEG means a minus."""
    root = survey(tmp_path / "data", "cosmic_dawn", "{question}_{answer}_fraction", 60, counts=False)
    changed = (
        f"dataset.root={root}",
        "dataset.catalogue=catalogue.parquet",
        "extractor.model=convnext_nano",
        "extractor.arguments.num_classes=0",  # as the encoders on the hub
        "autoencoder.latents=64",
        "autoencoder.activation.k=24",
        "autoencoder.nesting.prefixes=[16,64]",
        "train.tokens=2000",
    )
    folder = run(load(CONFIGS / "zoobot.yaml", (*FEW, *changed)), tmp_path / "zoobot")
    assert '"width": 640' in next((folder / "store").rglob("manifest.json")).read_text()
    studies = json.loads((folder / "studies.json").read_text())["studies"]
    assert [study["type"] for study in studies if study["failed"]] == []
    assert len(studies) == 3
    told = json.loads((folder / "concepts.json").read_text())
    names = {concept["name"] for concept in told["concepts"]}
    assert {"smooth-or-featured_smooth", "merging_merger"} <= names
    assert (folder / "report" / "index.html").is_file()


@pytest.mark.slow
def test_the_config_of_a_masked_autoencoder_runs_with_random_weights(tmp_path):
    """14 × 14 patches of a ViT-B/16, with a class token that is left out."""
    root = survey(tmp_path / "data", "decals", "{question}-dr5_{answer}", 8, counts=True)
    changed = (
        f"dataset.root={root}",
        "dataset.catalogue=catalogue.parquet",
        "dataset.minus=NEG",
        "extractor.model=vit_base_patch16_224",
        "autoencoder.latents=64",
        "autoencoder.activation.k=8",
        "autoencoder.nesting.prefixes=[16,64]",
        "train.tokens=3000",
        "score.split.select=0.5",
    )
    folder = run(load(CONFIGS / "mae.yaml", (*FEW, *changed)), tmp_path / "mae")
    manifest = next((folder / "store").rglob("manifest.json")).read_text()
    assert '"width": 768' in manifest
    health = json.loads((folder / "codes" / "health.json").read_text())
    assert health["tokens"] % (14 * 14) == 0
    assert (folder / "report" / "index.html").is_file()
