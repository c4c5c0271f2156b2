"""Reading FASTA, tables, flat text, GFF and JSON-lines; what is refused of them."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisae.concepts.annotations import Interval, Region
from omnisae.errors import DatasetError
from omnisae.testing import DatasetTests
from omnisae_protein.features import items, place
from omnisae_protein.plugin import ProteinsConfig
from omnisae_protein.vocabulary import concept

FASTA = ">sp|P11111|ONE_WORLD First protein OS=World\nMKTAYIAKQR\nQISFVKSHFS\n>P22222 second\nMCCCCNNNNWWWW\n"
CELL = (
    'DISULFID 2..5; /evidence="ECO:1"; DOMAIN 3..9; /note="SH2; of ""A"" 1"; /evidence="ECO:2"; '
    'MOD_RES 12; /note="Phosphoserine; by PKA"; BINDING 4..6; /ligand="ATP"; /ligand_id="ChEBI:1"'
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.fasta").write_text(FASTA)
    (tmp_path / "a.tsv").write_text(f"Entry\tProtein families\tSites\nP11111\tKinase family\t{CELL}\nP22222\t\t\n")
    return tmp_path


def built(folder, **settings):
    return ProteinsConfig(
        **({"root": str(folder), "sequences": "a.fasta", "annotations": ["a.tsv"], "least": 1} | settings)
    ).build()


class TestProteins(DatasetTests):
    @pytest.fixture
    def config(self, world):
        return ProteinsConfig(
            root=str(world),
            sequences="proteins.fasta",
            annotations=["uniprot.tsv"],
            least=2,
            homology={"method": "kmers"},
        )


def test_features_become_regions_with_their_instances(folder):
    dataset = built(folder)
    assert list(dataset.ids) == ["P11111", "P22222"]
    assert dataset.sequence(0) == "MKTAYIAKQRQISFVKSHFS"
    regions = dataset.annotations().regions
    bond = "Disulfide bond"
    assert regions(0) == [
        Region(bond, 0, Interval("residue", 1, 2)),
        Region(bond, 0, Interval("residue", 4, 5)),
        Region('Domain: SH2; of "A"', 1, Interval("residue", 2, 9)),
        Region("Modified residue: Phosphoserine", 2, Interval("residue", 11, 12)),
        Region("Binding site: ATP", 3, Interval("residue", 3, 6)),
    ]
    assert regions(1) == [], "a protein without features is annotated, too"


def test_a_protein_that_no_file_names_counts_for_nothing(folder):
    (folder / "a.tsv").write_text('Entry\tSites\nP11111\tHELIX 3..5\n"\t\n'.replace('"\t\n', ""))
    assert built(folder).annotations().regions(1) is None


def test_tables_flat_text_and_gff_say_the_same(folder):
    flat = 'ID   ONE\nAC   P11111; Q0;\nFT   DISULFID        2..5\nFT                   /evidence="E"\n'
    flat += 'FT   DOMAIN          3..9\nFT                   /note="SH2; of\nFT                   ""A"" 1"\n'
    flat += 'FT   MOD_RES         12\nFT                   /note="Phosphoserine; by PKA"\n'
    flat += (
        'FT   BINDING         4..6\nFT                   /ligand="ATP"\nSQ   SEQUENCE\n     MKTAYIAKQR QISFVKSHFS\n//\n'
    )
    gff = "##gff-version 3\nP11111\tU\tDisulfide bond\t2\t5\t.\t.\t.\t.\n"
    gff += 'P11111\tU\tDomain\t3\t9\t.\t.\t.\tNote=SH2%3B of "A" 1\n'
    gff += "P11111\tU\tModified residue\t12\t12\t.\t.\t.\tNote=Phosphoserine%3B by PKA\n"
    gff += "P11111\tU\tBinding site\t4\t6\t.\t.\t.\tligand=ATP\n"
    (folder / "a.txt").write_text(flat)
    with gzip.open(folder / "a.gff.gz", "wt") as file:
        file.write(gff)
    known = [(one.concept, one.start, one.stop) for one in built(folder).features_of(0)]
    assert len(known) == 4
    for name in ("a.txt", "a.gff.gz"):
        found = built(folder, annotations=[name]).features_of(0)
        assert [(one.concept, one.start, one.stop) for one in found] == known
    assert built(folder, sequences="a.txt", annotations=["a.txt"]).sequence(0) == "MKTAYIAKQRQISFVKSHFS"


def test_gzipped_fasta_is_read_and_a_cut_one_refused(folder):
    whole = gzip.compress(FASTA.encode())
    (folder / "b.fa.gz").write_bytes(whole)
    assert len(built(folder, sequences="b.fa.gz")) == 2
    (folder / "b.fa.gz").write_bytes(whole[:-12])
    with pytest.raises(DatasetError, match=r"b.fa.gz is no whole gzip file"):
        built(folder, sequences="b.fa.gz")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            FASTA + ">P11111\nMK\n",
            r"a.fasta, line 6: the id 'P11111' stands there for the second time; first in .*line 1",
        ),
        (FASTA + ">P3\n\n", r"line 6: 'P3' has 0 residues"),
        (FASTA + ">P3\nMCCCCNNNN\nWWWW\n", r"'P3' has the very sequence of 'P22222': on two sides"),
        (FASTA + ">P3\nMK-LV\n", r"'P3' holds '-' at residue 3"),
        (FASTA + ">\nMKLV\n", r"line 6: a record without a name"),
        ("MKLV\n", r"line 1: a sequence stands before the first '>'"),
        ("", r"a.fasta holds no record"),
    ],
)
def test_broken_records_are_refused(folder, text, words):
    (folder / "a.fasta").write_text(text)
    with pytest.raises(DatasetError, match=words):
        built(folder)


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("HELIX 15..21", r"a.tsv, row 2: HELIX 15..21 reaches beyond 'P11111', which has 20 residues"),
        ("HELIX 0..4", r"row 2: HELIX: '0..4': positions count from 1"),
        ("HELIX x..4", r"row 2: HELIX: 'x..4' is no position"),
    ],
)
def test_positions_that_cannot_be_are_refused(folder, cell, words):
    (folder / "a.tsv").write_text(f"Entry\tSites\nP11111\t{cell}\n")
    with pytest.raises(DatasetError, match=words):
        built(folder)


def test_other_isoforms_and_unknown_ends_are_left_out_and_counted(folder):
    cell = "HELIX P11111-2:1..4; HELIX ?..5; STRAND <1..4; HELIX P11111-1:2..3"
    (folder / "a.tsv").write_text(f"Entry\tSites\nP11111\t{cell}\nQ9\tHELIX 1..2\n")
    dataset = built(folder)
    assert [(one.concept, one.start, one.stop) for one in dataset.features_of(0)] == [
        ("Beta strand", 0, 4),
        ("Helix", 1, 3),
    ]
    notes = " ".join(dataset.notes())
    assert "1 annotated features lie on another isoform" in notes
    assert "1 annotated features have an unknown end" in notes
    assert "1 annotated entries are none of the proteins" in notes
    (folder / "a.tsv").write_text("Entry\tSites\nP11111\tHELIX 15..21\n")
    assert built(folder, bounds="drop").features_of(0) == []


def test_the_policies_of_residues(folder):
    (folder / "a.fasta").write_text(">P11111\nMKUAZ*\n>P22222\nmkla\n")
    plain = {"annotations": ()}
    assert [built(folder, **plain).sequence(i) for i in (0, 1)] == ["MKUAZ", "MKLA"]
    assert built(folder, nonstandard="mask", **plain).sequence(0) == "MKXAX"
    with pytest.raises(DatasetError, match=r"line 1: 'P11111' has non-standard residues: U, Z"):
        built(folder, nonstandard="refuse", **plain)
    with pytest.raises(DatasetError, match="non-standard residues"):
        built(folder, nonstandard="skip", **plain).load(0)
    (folder / "a.fasta").write_text(FASTA + ">P3\nMCCCCNNNNWWWW\n")
    assert list(built(folder, duplicates="first").ids) == ["P11111", "P22222"]
    assert len(built(folder, duplicates="keep")) == 3


def test_json_lines_know_what_they_know(folder):
    lines = [
        {"id": "A", "seq": "MKLVAC", "source": "x", "sites": {"metal": [2, 6]}},
        {"id": "B", "sequence": "MKLVAA", "source": "y", "per_residue": {"topology": "HHUU1H"}},
        {"id": "C", "sequence": "MKLVAG", "source": "y", "sites": {}},
    ]
    (folder / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = {"sequences": "a.jsonl", "annotations": (), "letters": {"topology": {"H": "Helix", "1": "Inside"}}}
    dataset = built(folder, unknown_letters="U", **settings)
    known = dataset.annotations()
    assert sorted(known.region_concepts) == ["Binding site: metal", "Helix", "Inside"]
    assert [(r.concept, r.place.start, r.place.stop) for r in known.regions(1)] == [
        ("Helix", 0, 2),
        ("Inside", 4, 5),
        ("Helix", 5, 6),
    ]
    hidden = {(r.concept, r.place.start, r.place.stop) for r in known.unknown(1)}
    assert hidden == {("Helix", 2, 4), ("Inside", 2, 4), ("Binding site: metal", 0, 6)}
    assert {r.concept for r in known.unknown(2)} == {"Helix", "Inside"}, "it has no metal site, and says so"
    assert list(built(folder, where={"source": "x"}, **settings).ids) == ["A"]
    (folder / "a.jsonl").write_text('{"id": "A"')
    with pytest.raises(DatasetError, match=r"a.jsonl, line 1: no record \(JSONDecodeError"):
        built(folder, **settings)


@given(st.integers(1, 500), st.integers(0, 500), st.booleans())
def test_positions_are_read_as_written(first, more, open_ended):
    text = f"{'<' if open_ended else ''}{first}..{first + more}"
    found = place(text)
    assert (found.start, found.stop, found.missing) == (first - 1, first + more, "")


def test_concepts_have_their_names():
    assert concept("ZN_FING", "C2H2-type 12; degenerate") == "Zinc finger: C2H2-type"
    assert concept("DOMAIN", "") == "Domain (any)"
    assert concept("TRANSMEM", "Helical; Name=1") == "Transmembrane"
    assert concept("BINDING", "axial binding residue", "heme b") == "Binding site: heme b"
    assert [key for key, _, _ in items(CELL)] == ["DISULFID", "DOMAIN", "MOD_RES", "BINDING"]
