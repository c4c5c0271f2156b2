"""The plug-in as a whole."""

import pytest

from omnisae.testing import PluginTests


class TestPlugin(PluginTests):
    name = "protein"

    @pytest.fixture
    def configs(self):
        return [
            {"type": "protein.sequences", "sequences": "proteins.fasta.gz"},
            {
                "type": "protein.sequences",
                "root": "world:motifs",
                "sequences": "proteins.fasta",
                "annotations": ["uniprot.tsv"],
                "homology": {"method": "kmers", "k": 5},
                "letters": {"topology": {"H": "Transmembrane"}},
            },
            {"type": "protein.esm", "checkpoint": "esm2_t33_650M_UR50D"},
            {"type": "protein.domains", "thresholds": [0.0, 0.5]},
            {"type": "protein.probes", "k": [1, 4]},
            {"type": "protein.patterns", "share": 0.2},
            {"type": "protein.fitness", "assay": "world:motifs/assay.csv", "labels": [24, 96]},
            {"type": "protein.steering", "concepts": ["Zinc finger: C2H2-type"]},
            {"type": "protein.residues", "columns": 80},
            {"type": "protein.logo", "around": 5},
            {"type": "protein.structure"},
        ]
