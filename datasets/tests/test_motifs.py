"""The world `motifs`: every motif is where it is told to be and nowhere else, and its files say the same."""

import csv
import re
from itertools import pairwise

import numpy as np
import pytest

from omnisae_datasets import checkpoint, resolve
from omnisae_datasets.motifs.assay import assay
from omnisae_datasets.motifs.backbone import STEP, mmcif, trace
from omnisae_datasets.motifs.families import FAMILIES
from omnisae_datasets.motifs.proteins import ancestor, protein

MANY = [protein(0, number, 40) for number in range(400)]
PATTERNS = {
    "ZN_FING": r"C..C...F.....L..H...H|C..C...F.....L..H....H",
    "CARBOHYD": r"N",
    "MOD_RES": r"S",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("OMNISAE_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield resolve("world:motifs?n=96&seed=3")
    patch.undo()


def features(key, note="", ligand=""):
    """(protein, feature) of every planted feature of a kind."""
    return [
        (one, f)
        for one in MANY
        for f in one.features
        if f.key == key and (not note or f.note == note) and (not ligand or f.ligand == ligand)
    ]


def test_a_protein_depends_on_its_seed_and_number_alone():
    assert protein(3, 7, 40) == protein(3, 7, 40)
    assert protein(3, 7, 40) != protein(3, 47, 40)
    assert protein(3, 7, 40).ancestor == protein(3, 47, 40).ancestor
    assert len({one.id for one in MANY}) == len(MANY)
    assert {one.family for one in MANY} == set(FAMILIES)


@pytest.mark.parametrize("key", PATTERNS)
def test_motifs_have_their_patterns(key):
    found = features(key)
    assert len(found) > 50
    for one, f in found:
        assert re.fullmatch(PATTERNS[key], one.sequence[f.first : f.last + 1])


def test_p_loops_and_active_sites_have_theirs():
    for one, f in features("BINDING", ligand="ATP"):
        assert re.fullmatch(r"[AG].{4}GK[ST]", one.sequence[f.first : f.last + 1])
    for one, f in features("ACT_SITE", note="Charge relay system"):
        assert one.sequence[f.first - 2 : f.first + 3] == "GDSGG" or one.sequence[f.first - 3 : f.first + 2] == "TAAHC"
    for one, f in features("BINDING", ligand="Zn(2+)"):
        assert one.sequence[f.first] in "CH"
    for one, f in features("DISULFID"):
        assert one.sequence[f.first] == one.sequence[f.last] == "C"


def test_short_motifs_stand_nowhere_else():
    for one in MANY:
        sugars = {f.first for f in one.features if f.key == "CARBOHYD"}
        assert {m.start() for m in re.finditer(r"N(?=[^P][ST][^P])", one.sequence)} <= sugars
        kinase = {f.first - 3 for f in one.features if f.key == "MOD_RES"}
        assert {m.start() for m in re.finditer(r"R(?=[RK].S)", one.sequence)} <= kinase


def test_membranes_and_signals_are_hydrophobic():
    def share(found):
        text = "".join(one.sequence[f.first : f.last + 1] for one, f in found)
        return sum(letter in "AILMFVWY" for letter in text) / len(text)

    whole = "".join(one.sequence for one in MANY)
    usual = sum(letter in "AILMFVWY" for letter in whole) / len(whole)
    assert share(features("TRANSMEM")) > 0.7 > usual + 0.2
    assert share(features("SIGNAL")) > 0.5
    assert all(f.first == 0 and one.sequence[0] == "M" for one, f in features("SIGNAL"))


def test_descendants_are_alike_and_others_are_not():
    def alike(a, b):
        mine, theirs = ({s[i : i + 4] for i in range(len(s) - 3)} for s in (a.sequence, b.sequence))
        return len(mine & theirs) / min(len(mine), len(theirs))

    kin = [alike(MANY[i], MANY[i + 40]) for i in range(40)]
    family = [alike(MANY[i], MANY[i + 8]) for i in range(32)]
    assert np.median(kin) > 0.15 > 2 * np.median(family)


def test_the_trace_is_a_chain():
    one = MANY[1]
    at = trace(one, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(np.diff(at, axis=0), axis=1)[2:], STEP, rtol=1e-6)
    helix = next(f for f in one.features if f.key == "HELIX")
    rise = np.linalg.norm(at[helix.first + 2 : helix.last - 3] - at[helix.first + 6 : helix.last + 1], axis=1)
    np.testing.assert_allclose(rise, 6.2, atol=0.3)  # four residues along an α-helix
    lines = [line for line in mmcif(one, at).splitlines() if line.startswith("ATOM")]
    assert len(lines) == len(one.sequence)


def test_the_assay_prefers_residues_of_the_site():
    rows = assay(0)
    founder = ancestor(0, 1)
    assert len({row["mutant"] for row in rows}) == len(rows) == 1000
    for row in rows[:50]:
        changed = [
            (a, i, b) for i, (a, b) in enumerate(zip(founder.residues, row["mutated_sequence"], strict=True)) if a != b
        ]
        assert row["mutant"] == ":".join(f"{a}{i + 1}{b}" for a, i, b in changed)
    lysine = founder.residues.index("GK") + 2
    broken = [float(row["DMS_score"]) for row in rows if re.search(rf"K{lysine}[A-Z]", row["mutant"])]
    assert np.mean(broken) < np.mean([float(row["DMS_score"]) for row in rows])


def test_files_say_the_same(folder):
    fasta = (folder / "proteins.fasta").read_text().split(">")[1:]
    sequences = {part.split("|")[1]: "".join(part.splitlines()[1:]) for part in fasta}
    lines = [line.split("\t") for line in (folder / "uniprot.tsv").read_text().splitlines()]
    table = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    assert len(table) == len(sequences) == 96
    assert all(sequences[row["Entry"]] == row["Sequence"] for row in table)
    gff = [line.split("\t") for line in (folder / "features.gff").read_text().splitlines() if line[0] != "#"]
    fingers = {(line[0], int(line[3]), int(line[4])) for line in gff if line[2] == "Zinc finger"}
    told = {
        (row["Entry"], int(a), int(b))
        for row in table
        for a, b in re.findall(r"ZN_FING (\d+)\.\.(\d+)", row["Zinc finger"])
    }
    assert fingers == told
    assert len(fingers) > 20
    with (folder / "ancestors.csv").open() as file:
        assert [row["id"] for row in csv.DictReader(file)] == list(sequences)
    assert len({path.stat().st_mtime for path in folder.rglob("*") if path.is_file()}) == 1
    cards = sorted(path.stem for path in (folder / "structures").glob("*.cif"))
    assert set(cards) < set(sequences)
    assert all(a < b for a, b in pairwise(cards))


def test_the_shipped_model_reads_masked_residues():
    pytest.importorskip("esm", reason="fair-esm is not installed")
    from omnisae_datasets.motifs import model
    from omnisae_datasets.motifs.train import measure

    path = checkpoint("world:motifs", "esm2_motifs")
    assert path.stat().st_size < 2_000_000
    rows = measure(model.load(path), 64).rows
    assert rows["all residues"]["perplexity"] < 12.5 < rows["all residues"]["usual"]
    assert rows["BINDING Zn(2+)"]["accuracy"] > 0.9
