"""What a store holds, for people. No torch here, so that looking is quick."""

from collections import Counter
from pathlib import Path
from typing import Any

from omnisae.store.manifest import ITEMSIZE, Manifest


def describe(path: str | Path) -> dict[str, Any]:
    """A summary of a store, finished or half-written, as JSON. Raises StoreError where there is none."""
    manifest = Manifest.read(path)
    hook = manifest.hook
    reasons = Counter(skip.reason for skip in manifest.skipped)
    return {
        "kind": "store",
        "path": str(path),
        "complete": manifest.complete,
        "hook": {
            "name": hook.name,
            "at": list(hook.at),
            "view": hook.view,
            "layout": hook.pattern,
            "sizes": hook.sizes,
        },
        "axes": list(hook.axes),
        "roles": list(hook.roles),
        "tokens": manifest.rows,
        "width": manifest.width,
        "dtype": manifest.dtype,
        "examples": manifest.examples,
        "skipped": {"count": len(manifest.skipped), "reasons": dict(reasons.most_common(5))},
        "shards": len(manifest.shards),
        "bytes": sum(shard.bytes for shard in manifest.shards),
        "value_bytes": manifest.rows * manifest.width * ITEMSIZE[manifest.dtype],
        "key": manifest.key,
        "schema_version": manifest.schema_version,
        "about": manifest.about,
    }
