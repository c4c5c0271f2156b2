"""`docs/speed.md` and its pictures, made from the stored runs alone: `make bench-docs`."""

from pathlib import Path
from typing import Any

from benchmarks.bench import plots, results, tables, targets
from benchmarks.bench.setting import Setting

DOCS = Path(__file__).parents[2] / "docs"
MAIN = ("topk", "batchtopk", "topk_32768")
Run = dict[str, Any]


def write(folder: Path = results.FOLDER, docs: Path = DOCS) -> Path:
    """Write page and pictures from the newest full runs, or, where there is none, from the newest QUICK ones."""
    stored = runs(folder)
    if not stored:
        raise SystemExit(f"{folder} holds no run to make a page of; run `make bench` or `make bench QUICK=1` first")
    for name, figure in pictures(stored[0]).items():
        plots.write(figure, docs / "pictures" / f"speed-{name}.svg")
    file = docs / "speed.md"
    file.write_text(page(stored), encoding="utf-8")
    print(f"wrote {file}")
    return file


def runs(folder: Path = results.FOLDER) -> list[Run]:
    """The runs that the page is made of, the newest first."""
    return results.runs("full", folder) or results.runs("quick", folder)


def pictures(run: Run) -> dict[str, Any]:
    """The figures that this run has the races for, by name."""
    races = run["races"]
    main = [races[name] for name in MAIN if name in races]
    judged = [race for race in main if any(one["curve"] for one in race["contestants"].values())]
    made = {}
    if main:
        made["tokens"] = plots.speeds(main)
    if judged:
        made["quality"] = plots.curves(judged)
    if scaled := _scaling(races):
        made["scaling"] = plots.scaling(scaled)
    return made


def page(runs: list[Run]) -> str:
    """The page's text. `runs` are the newest first; tables are the newest run's, targets those of all."""
    newest = runs[0]
    races = newest["races"]
    parts = [_opening(newest, runs), _targets(runs)]
    for name in MAIN:
        if name in races:
            parts.append(_race(races[name], picture="tokens" if name == MAIN[0] else None))
    if any(race in races for race in MAIN[:2]):
        parts.append(_quality(races))
    if _scaling(races):
        parts.append(_scaled(races))
    if "engine" in races:
        parts.append(_race(races["engine"], note=ENGINE))
    if "1 in one pass" in races.get("passes", {"contestants": {}})["contestants"]:
        body = tables.passes(races["passes"])
        parts.append(f"## {races['passes']['title']}\n\n{tables.markdown(tables.PASS_HEADS, body)}")
    parts += [_race(race) for name, race in races.items() if name.startswith("gpu_")]
    parts.append(_versions(newest))
    return "\n\n".join(parts) + "\n"


ENGINE = """Whole trainings by `omnisae.training.trainer.train`, which also checks for NaN, logs and keeps a journal:
from a store whose files the kernel was asked to forget before every turn, and of one or eight autoencoders in one such
pass; their memory holds weights and optimiser, too. `to posting lists` encodes a store."""


def _opening(run: Run, runs: list[Run]) -> str:
    machine = run["machine"]
    base = Setting()
    dates = " and ".join(one["date"][:10] for one in reversed(runs))
    kind = "`make bench`" if run["kind"] == "full" else "`make bench QUICK=1`, which leaves much out"
    return f"""# Speed

omnisae beside other libraries that train sparse autoencoders. `make bench` races them (twenty minutes), `make bench
QUICK=1` the fastest of them (less than six minutes); `make bench-docs` makes this page from what they stored in
`benchmarks/results/`, here by {kind} on {dates}.

The machine: {machine["cores"]} cores of an {machine["cpu"]} ({", ".join(machine["flags"])}),
{machine["memory_gib"]:g} GiB, {machine["gpu"] or "no GPU"}. Trust ratios: the machine is shared, and seconds swing.

Every contestant is a process of its own and trains by its library's own public step on the same rows in the same
order: batches of {base.batch:,} fp32 activations of width {base.width} in memory, sums of 20 of 4,096 planted
directions. They take turns, in an order that rotates, and all but one are stopped (SIGSTOP) at any time. A ratio is the
median over rounds of the ratio within a round. Unless a table says otherwise k = {base.k}, Adam runs at a constant
learning rate of {base.lr:g}, and all else is each library's default. Two steps are not timed. What each contestant's
step is stands at the head of its file in `benchmarks/bench/contestants/`. Nobody's threads spin while they wait. Peers
run as they are shipped; omnisae as its command starts it, which asks torch for memory in pages of 2 MiB.

- **bf16 encoder product**: {base.batch:,} × {base.width} × latents in bf16, by chunks that stay in the cache, measured
  in the same rounds. No step that computes every pre-activation in bf16 can be faster.
- **Extra memory**: the peak of resident memory during steps, less what was resident before the autoencoder was built
  (libraries, compiled code and the data), its weights, and the optimiser's state.
- **Explained variance**: 1 − Σ‖x − x̂‖² / Σ‖x − mean‖² on rows held out, in fp64. **Dead share**: latents that fire on
  none of them. **Mean max cosine**: of the planted directions with the nearest latent. BatchTopK is judged by its rule
  of training, on batches of held-out rows."""


def _targets(runs: list[Run]) -> str:
    judged = [{row.name: row for row in targets.judge(run["races"], run["kind"])} for run in runs]
    heads = ("target", "wanted", *(run["date"][:16].replace("T", " ") for run in runs))
    body = [
        (f"`{name}`", f"`{row.target}`", *(_judged(one.get(name)) for one in judged)) for name, row in judged[0].items()
    ]
    how = (
        "Median, or the worst value where a target speaks of several; in brackets lowest, highest and number of values."
    )
    return f"## Targets\n\n{how}\n\n{tables.markdown(heads, body)}"


def _judged(row: targets.Row | None) -> str:
    if row is None or row.value is None or row.spread is None:
        return "not measured"
    low, high = (f"{end:.4g}" for end in row.spread)
    return f"{'met' if row.met else '**short**'}: {row.value:.4g} ({low} to {high}; {row.n})"


def _race(race: Run, note: str = "", picture: str | None = None) -> str:
    heads, body = tables.speeds(race)
    parts = [f"## {race['title']}", note, _picture(picture, "Tokens a second") if picture else ""]
    parts.append(tables.markdown(heads, body))
    parts += [f"{name} could not take part." for name in race["absent"]]
    return "\n\n".join(part for part in parts if part)


def _quality(races: dict[str, Run]) -> str:
    parts = ["## Quality", _picture("quality", "Explained variance by tokens and by seconds of training")]
    for name in MAIN[:2]:
        if name in races:
            parts.append(f"{races[name]['title']}:")
            parts.append(tables.markdown(tables.CURVE_HEADS, tables.curve_rows(races[name])))
    return "\n\n".join(parts)


def _scaled(races: dict[str, Run]) -> str:
    parts = ["## Scaling", _picture("scaling", "Tokens a second over latents, width, k and batch")]
    for field, several in _scaling(races).items():
        names = list(dict.fromkeys(name for race in several for name in race["contestants"]))
        body = [(f"{race['setting'][field]:,}", *tables.medians(race, names)) for race in several]
        parts.append(tables.markdown((field, *names), body))
    return "\n\n".join(parts)


def _scaling(races: dict[str, Run]) -> dict[str, list[Run]]:
    """The scaling races by the field that they change."""
    found: dict[str, list[Run]] = {}
    for name, race in races.items():
        if name.startswith("scaling_"):
            found.setdefault(name.split("_")[1], []).append(race)
    if "topk" in races:  # all of them lie about its setting
        for field, several in found.items():
            base = races["topk"]["contestants"]
            some = {name: base[name] for name in several[0]["contestants"] if name in base}
            several.append({**races["topk"], "contestants": some})
            several.sort(key=lambda race: race["setting"][field])
    return found


def _versions(run: Run) -> str:
    found: dict[str, str] = {"python": run["python"]}
    for race in run["races"].values():
        for one in race["contestants"].values():
            found |= one["versions"]
    commit = f"{run['commit'][:10]}{', with changes not committed' if run['changed'] else ''}" if run["commit"] else "–"
    listed = ", ".join(f"{name} {version}" for name, version in sorted(found.items()))
    return f"## Versions\n\n{listed}; commit {commit}."


def _picture(name: str, alt: str) -> str:
    return f"![{alt}](pictures/speed-{name}.svg)"
