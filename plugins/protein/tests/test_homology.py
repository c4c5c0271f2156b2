"""Clusters hold kin together, and a split that would divide them is refused."""

import os
from collections import Counter

import pytest

from omnisae.errors import ConfigError, DatasetError, PluginError
from omnisae.extract.split import assign
from omnisae_protein.homology import clusters
from omnisae_protein.plugin import Homology, ProteinsConfig


@pytest.fixture(scope="module")
def dataset(world):
    return ProteinsConfig(
        root=str(world), sequences="proteins.fasta", group_by="ancestors.csv", homology={"method": "kmers"}, least=2
    ).build()


def test_descendants_of_one_ancestor_stay_together(dataset):
    found, truth = dataset.groups("homology"), dataset.groups("ancestor")
    homes = {name: Counter(c for c, t in zip(found, truth, strict=True) if t == name) for name in set(truth)}
    together = sum(max(home.values()) for home in homes.values())
    assert together > 0.85 * len(found)
    assert max(Counter(found).values()) < len(found) / 4
    assert any("clusters of 96 proteins by shared 4-mers" in note for note in dataset.notes())


def test_a_split_that_divides_them_is_refused(dataset):
    with pytest.raises(ConfigError, match="put examples of one homology on two sides"):
        assign(dataset, by="example")
    side = assign(dataset, by="homology")
    home = {}
    assert all(home.setdefault(g, s) == s for g, s in zip(dataset.groups("homology"), side, strict=True))


@pytest.fixture
def fake_mmseqs(tmp_path, monkeypatch):
    """A program called mmseqs that puts proteins 0 and 2 together, or fails."""

    def install(fails=False):
        script = (
            "#!/bin/sh\necho broken >&2; exit 3\n"
            if fails
            else '#!/bin/sh\nprintf "0\\t0\\n1\\t1\\n0\\t2\\n" > "$3_cluster.tsv"\n'
        )
        path = tmp_path / "mmseqs"
        path.write_text(script)
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return install


def test_mmseqs_is_asked_where_it_is_installed(fake_mmseqs, monkeypatch):
    ask = (["a", "b", "c"], ["MKLV", "MKAA", "MKLL"])
    fake_mmseqs()
    found, how = clusters(*ask, Homology())
    assert found == ["cluster of a", "cluster of b", "cluster of a"]
    assert how == "MMseqs2, identity 0.3"
    fake_mmseqs(fails=True)
    with pytest.raises(DatasetError, match=r"mmseqs easy-cluster failed \(3\): broken"):
        clusters(*ask, Homology(method="mmseqs"))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(PluginError, match="mmseqs is not on the PATH"):
        clusters(*ask, Homology(method="mmseqs"))
    assert clusters(*ask, Homology())[1] == "shared 4-mers"
