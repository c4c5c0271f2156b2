"""UniProt's features: their keys, their titles, and the names of concepts that come of them."""

import re

TITLES = {
    "ACT_SITE": "Active site",
    "BINDING": "Binding site",
    "CARBOHYD": "Glycosylation",
    "COILED": "Coiled coil",
    "COMPBIAS": "Compositional bias",
    "CROSSLNK": "Cross-link",
    "DISULFID": "Disulfide bond",
    "DNA_BIND": "DNA binding",
    "DOMAIN": "Domain",
    "HELIX": "Helix",
    "INTRAMEM": "Intramembrane",
    "LIPID": "Lipidation",
    "MOD_RES": "Modified residue",
    "MOTIF": "Motif",
    "NON_STD": "Non-standard residue",
    "PEPTIDE": "Peptide",
    "PROPEP": "Propeptide",
    "REGION": "Region",
    "REPEAT": "Repeat",
    "SIGNAL": "Signal peptide",
    "SITE": "Site",
    "STRAND": "Beta strand",
    "TOPO_DOM": "Topological domain",
    "TRANSIT": "Transit peptide",
    "TRANSMEM": "Transmembrane",
    "TURN": "Turn",
    "ZN_FING": "Zinc finger",
}
"""Keys of flat text and tables, with their titles in GFF."""
KEYS = {title.lower(): key for key, title in TITLES.items()} | {"strand": "STRAND", "domain [ft]": "DOMAIN"}
NAMED = frozenset(
    {
        "ACT_SITE",
        "BINDING",
        "CARBOHYD",
        "COMPBIAS",
        "CROSSLNK",
        "DNA_BIND",
        "DOMAIN",
        "LIPID",
        "MOD_RES",
        "MOTIF",
        "REGION",
        "REPEAT",
        "SITE",
        "TOPO_DOM",
        "ZN_FING",
    }
)
"""Keys whose note (or ligand) is part of the concept; of the others the key alone is."""
ENDS = frozenset({"DISULFID", "CROSSLNK"})
"""Keys whose first and last residue are bonded, and nothing between them."""
RESIDUES = frozenset({"ACT_SITE", "BINDING", "CARBOHYD", "CROSSLNK", "DISULFID", "LIPID", "MOD_RES", "SITE"})
"""Keys of single residues: their recall is of residues, as InterPLM has it, not of instances."""
CATCH_ALLS = frozenset({"REGION", "MOD_RES", "DOMAIN", "COMPBIAS", "MOTIF"})
"""Keys whose concept without a note would gather what has nothing in common: InterPLM drops it."""
ANY = " (any)"


def concept(key: str, note: str, ligand: str = "") -> str:
    """`Zinc finger: C2H2-type` out of a key and its note: without trailing numbers, marks of degeneracy, and the names
    of kinases.

    A key whose kinds differ (NAMED) and that has no note is `Domain (any)`.
    """
    title = TITLES[key]
    if key not in NAMED:
        return title
    told = ligand if key == "BINDING" and ligand else note
    told = re.sub(r"\s*;\s*(degenerate|atypical|truncated|in .*)$", "", told.strip())
    if key == "MOD_RES":
        told = re.sub(r"\s*;\s*by .*$", "", told)
    told = re.sub(r"\s+\d+$", "", told)
    return f"{title}: {told}" if told else title + ANY


def title_of(name: str) -> str:
    """The key's title that a concept's name begins with."""
    return name.removesuffix(ANY).partition(":")[0]
