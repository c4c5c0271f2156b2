"""The families: how their proteins are built of segments. A family has many ancestors, each with descendants."""

from collections.abc import Callable

from omnisae_datasets.motifs.segments import Chain


def zinc_finger(chain: Chain) -> None:
    chain.start()
    chain.disordered()
    chain.nuclear()
    chain.loop()
    fingers = chain.between(2, 4)
    for i in range(fingers):
        chain.finger()
        if i + 1 < fingers:
            chain.add(["T", "G", "E", "KR", "P"])
    chain.loop()


def ntpase(chain: Chain) -> None:
    def domain() -> None:
        chain.p_loop()
        chain.loop()
        chain.strand()
        chain.loop()
        chain.helix()
        chain.loop()
        chain.walker_b()
        chain.loop()
        chain.helix()

    chain.start()
    chain.spanned("DOMAIN", "P-loop NTPase", domain)
    chain.loop()


def serine_protease(chain: Chain) -> None:
    def domain() -> None:
        first = chain.strand()
        chain.loop()
        second = chain.strand()
        where = chain.add(["T", "A", "A", "H", "C"])
        chain.tell("ACT_SITE", (where[0] + 3, where[0] + 3), "Charge relay system")
        chain.bond(second[0] + 1, where[1])
        chain.loop()
        chain.strand()
        chain.sequon()
        third = chain.strand()
        chain.bond(first[0] + 2, third[0] + 2)
        chain.loop()
        where = chain.add(["G", "D", "S", "G", "G", "P"])
        chain.tell("ACT_SITE", (where[0] + 2, where[0] + 2), "Charge relay system")
        chain.strand()
        chain.loop()
        chain.helix(10, 13)

    chain.signal()
    chain.spanned("DOMAIN", "Peptidase S1", domain)
    chain.loop()


def receptor(chain: Chain) -> None:
    def domain() -> None:
        chain.strand()
        chain.loop(2, 4)
        second = chain.strand()
        chain.loop(2, 4)
        third = chain.strand()
        chain.sites[third[0] + 2] = chain.sites[third[0] + 2].__class__("W")
        chain.loop(2, 4)
        chain.strand()
        chain.sequon()
        chain.strand()
        last = chain.add(["D", "STA", "GA", "STV", "Y", "RHTEQ", "C"])
        chain.bond(second[0] + 2, last[1])
        chain.loop(2, 4)
        chain.strand()

    chain.signal()
    outside = len(chain.sites)
    for _ in range(chain.between(1, 2)):
        chain.spanned("DOMAIN", "Ig-like", domain)
        chain.loop(3, 6, "outside")
    if chain.between(0, 1):
        chain.sequon()
    chain.loop(2, 4, "outside")
    chain.tell("TOPO_DOM", (outside, len(chain.sites) - 1), "Extracellular")
    chain.membrane()
    inside = len(chain.sites)
    chain.loop(3, 5, "inside")
    chain.loop(3, 6)
    chain.phosphosite()
    chain.loop(3, 8)
    chain.tell("TOPO_DOM", (inside, len(chain.sites) - 1), "Cytoplasmic")


def transporter(chain: Chain) -> None:
    chain.start()
    chain.loop(3, 5, "inside")
    chain.tell("TOPO_DOM", (0, len(chain.sites) - 1), "Cytoplasmic")
    for i in range(chain.between(2, 3) * 2):
        chain.membrane()
        within = i % 2 == 1
        first = len(chain.sites)
        if within:
            chain.loop(4, 6, "inside")
        else:
            chain.loop(3, 4, "outside")
            if chain.between(0, 1):
                chain.sequon()
            chain.loop(2, 4, "outside")
        chain.tell("TOPO_DOM", (first, len(chain.sites) - 1), "Cytoplasmic" if within else "Extracellular")


def metalloprotease(chain: Chain) -> None:
    def domain() -> None:
        chain.strand()
        chain.loop()
        first = chain.helix()
        chain.loop()
        where = chain.add(["VIL", "stroma", "stroma", "H", "E", "LIVF", "GAST", "H", "STAVNL", "LFM"])
        for at in (3, 7):
            chain.tell("BINDING", (where[0] + at,) * 2, ligand="Zn(2+)")
        chain.tell("ACT_SITE", (where[0] + 4,) * 2, "Proton acceptor")
        chain.tell("HELIX", where)
        chain.loop()
        last = chain.helix()
        chain.bond(first[0] + 4, last[0] + 4)
        chain.loop()
        chain.strand()

    chain.signal()
    chain.spanned("DOMAIN", "Peptidase M", domain)
    chain.sequon()
    chain.loop()


def scaffold(chain: Chain) -> None:
    chain.start()
    chain.helix()
    chain.loop()
    chain.coil()
    chain.disordered()
    chain.phosphosite()
    chain.loop()
    chain.helix()
    chain.loop()


def bundle(chain: Chain) -> None:
    chain.start()
    for _ in range(chain.between(3, 5)):
        chain.helix()
        chain.loop()
    if chain.between(0, 1):
        chain.phosphosite()
        chain.loop()


FAMILIES: dict[str, Callable[[Chain], None]] = {
    "Krueppel C2H2-type zinc-finger protein family": zinc_finger,
    "P-loop NTPase family": ntpase,
    "Peptidase S1 family": serine_protease,
    "Immunoglobulin-like receptor family": receptor,
    "Major facilitator-like family": transporter,
    "Peptidase M family": metalloprotease,
    "Coiled-coil scaffold family": scaffold,
    "Helical bundle family": bundle,
}
