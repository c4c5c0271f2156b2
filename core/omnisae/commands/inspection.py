"""What `omnisae inspect` tells of a store, posting lists, an artifact or a run folder."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omnisae.errors import RunError, StoreError
from omnisae.run_folder import STAGES, RunFolder


def inspect(path: Path, verify: bool = False) -> dict[str, Any]:
    """The facts of whatever lies at `path`, as JSON; `what` says which it is.

    Raises RunError where it is neither a store, an artifact nor a run, and StoreError where `verify` finds damage.
    """
    if not path.exists():
        raise RunError(f"there is nothing at {path}", "give the folder of a run, a store or an artifact")
    folder = path.parent if path.is_file() else path
    if (folder / "manifest.json").exists():
        return _store(folder, verify)
    if (folder / "sae.json").exists():
        return _artifact(folder)
    if (folder / "stages.json").exists() or (folder / "config.yaml").exists():
        return _run(folder)
    raise RunError(
        f"{path} is no store (manifest.json), no artifact (sae.json) and no run (config.yaml)",
        "give the folder of one of them, such as runs/<name>",
    )


def render(facts: dict[str, Any]) -> str:
    """The facts for a person to read."""
    return "\n".join(_lines(facts, ""))


def _lines(facts: dict[str, Any], indent: str) -> Iterator[str]:
    width = max((len(key) for key, value in facts.items() if not isinstance(value, dict)), default=0)
    for key, value in facts.items():
        label = key.replace("_", " ")
        if isinstance(value, dict) and value:
            yield f"{indent}{label}:"
            yield from _lines(value, indent + "  ")
        elif isinstance(value, list) and len(value) > 1 and not all(isinstance(item, (int, float)) for item in value):
            yield f"{indent}{label}:"
            yield from (f"{indent}  - {_shown(item)}" for item in value)
        else:
            yield f"{indent}{label.ljust(width)}  {_shown(value)}"


def _shown(value: Any) -> str:
    if value is None or value in ([], {}):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return str(value)


def _store(folder: Path, verify: bool) -> dict[str, Any]:
    manifest = _json(folder / "manifest.json")
    if "shards" not in manifest:
        return _postings(folder, manifest)
    if verify:
        from omnisae.store.store import Store

        Store.open(folder).verify()
    shards = manifest["shards"]
    return {
        "what": "store",
        "path": str(folder),
        "complete": manifest.get("complete"),
        "hook": _hook(_part(manifest, "hook")),
        "tokens": manifest.get("rows"),
        "examples": manifest.get("examples"),
        "skipped": [f"{skip.get('id')}: {skip.get('reason')}" for skip in manifest.get("skipped", [])],
        "width": manifest.get("width"),
        "dtype": manifest.get("dtype"),
        "shards": len(shards),
        "bytes": sum(shard.get("bytes", 0) for shard in shards),
        "verified": True if verify else "not asked (--verify)",
        "key": manifest.get("key"),
        "schema_version": manifest.get("schema_version"),
        "about": manifest.get("about", {}),
    }


def _component(value: Any) -> Any:
    """A component by its name and, in brackets, its fields."""
    if not isinstance(value, dict):
        return value
    fields = ", ".join(f"{name} {json.dumps(field)}" for name, field in value.items() if name != "type")
    return f"{value.get('type')} ({fields})" if fields else value.get("type")


def _artifact(folder: Path) -> dict[str, Any]:
    raw = _json(folder / "sae.json")
    info, autoencoder = _part(raw, "info"), _part(raw, "autoencoder")
    weights = folder / str(_part(raw, "weights").get("file", "sae.safetensors"))
    return {
        "what": "artifact",
        "path": str(folder),
        "latents": autoencoder.get("latents"),
        "width": autoencoder.get("width"),
        "rule": raw.get("rule"),
        "parts": {
            key: _component(value)
            for key, value in _part(autoencoder, "config").items()
            if key in ("activation", "decoder", "nesting", "normaliser")
        },
        "hook": _hook(_part(info, "hook")),
        "tokens": {stage: _filter(keep) for stage, keep in _part(info, "tokens").items()},
        "model": info.get("parent") or "none: trained on a table",
        "dataset": info.get("dataset"),
        "source": info.get("source"),
        "trained": _plain(_part(info, "trained")),
        "weights": f"{weights.stat().st_size:,} bytes" if weights.exists() else "missing",
        "schema": raw.get("schema"),
        "written_by": _part(raw, "written_by"),
    }


def _postings(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    return {
        "what": "posting lists",
        "path": str(folder),
        "latents": manifest.get("latents"),
        **({"signed": True} if manifest.get("signed") else {}),
        "tokens": manifest.get("tokens"),
        "entries": manifest.get("entries"),
        "examples": manifest.get("examples"),
        "kept": _filter(_part(manifest, "keep")),
        "hook": _hook(_part(manifest, "hook")),
        "about": _part(manifest, "about"),
    }


def _part(facts: dict[str, Any], key: str) -> dict[str, Any]:
    found = facts.get(key)
    return found if isinstance(found, dict) else {}


def _filter(keep: dict[str, Any]) -> str:
    share = keep.get("fraction", 1.0)
    return ", ".join(keep.get("roles", ())) + (f" ({share:.0%} of them)" if share < 1 else "")


def _run(folder: Path) -> dict[str, Any]:
    run = RunFolder(folder)
    done = run.ledger()
    stages = {stage: _state(stage, {name: d.seconds for name, d in done.items()}) for stage in STAGES}
    metrics = folder / "metrics.json"
    return {
        "what": "run",
        "path": str(folder),
        "stages": stages,
        "stores": sorted(str(path.parent.relative_to(folder)) for path in folder.glob("store/*/manifest.json")),
        "artifacts": sorted(str(path.parent.relative_to(folder)) for path in folder.glob("sae/**/sae.json")),
        "metrics": _plain(_json(metrics)) if metrics.exists() else {},
        "report": _there(folder / "report" / "index.html"),
    }


def _state(stage: str, seconds: dict[str, float]) -> str:
    """A stage may stand in the ledger several times, once an autoencoder (`score:name`)."""
    own = [took for name, took in seconds.items() if name.partition(":")[0] == stage]
    return f"done, {sum(own):.1f} s" if own else "not done"


def _there(path: Path) -> str | None:
    return str(path) if path.exists() else None


def _hook(hook: dict[str, Any]) -> dict[str, Any]:
    shown = ("name", "at", "view", "pattern", "sizes", "width")
    return {key: hook[key] for key in shown if key in hook}


def _plain(facts: dict[str, Any]) -> dict[str, Any]:
    """Without long lists: their length instead."""
    return {
        key: _plain(value)
        if isinstance(value, dict)
        else f"{len(value):,} values"
        if isinstance(value, list) and len(value) > 12
        else value
        for key, value in facts.items()
    }


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise StoreError(f"{path} cannot be read: {error}", "restore it from a copy, or run the stage again") from None
    if not isinstance(found, dict):
        raise StoreError(f"{path} does not hold a JSON object", "restore it from a copy, or run the stage again")
    return found
