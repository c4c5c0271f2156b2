"""The concept table on disk: concepts.parquet. Column by column in docs/metrics.md."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from omnisae.atomic import replacing

SCHEMA: dict[str, pa.DataType] = {
    "latent": pa.int32(),
    "concept": pa.string(),
    "level": pa.string(),
    "threshold": pa.float64(),
    "precision": pa.float64(),
    "recall": pa.float64(),
    "recall_instance": pa.float64(),
    "f1": pa.float64(),
    "auroc": pa.float64(),
    "iou": pa.float64(),
    "spearman": pa.float64(),
    "n_select": pa.int64(),
    "n_test": pa.int64(),
    "control_neuron_f1": pa.float64(),
    "control_pca_f1": pa.float64(),
    "control_random_f1": pa.float64(),
    "p_value": pa.float64(),
    "q_value": pa.float64(),
}
SIGN = ("sign", pa.int8())
"""The column after `latent` where codes are signed: 1 or −1, the codes of the latent that the row is about."""
METRICS = ("precision", "recall", "recall_instance", "f1", "auroc", "iou", "spearman")
"""The fixed columns that metrics fill."""


def write_table(path: Path, columns: Mapping[str, Any], extra: Sequence[str] = ()) -> None:
    """Write the fixed columns in their order, NaN where they are absent, then the extra ones. `sign` stands after
    `latent` where it is given."""
    rows = len(columns["latent"])
    schema = {"latent": SCHEMA["latent"]} | (dict([SIGN]) if "sign" in columns else {}) | SCHEMA
    schema |= dict.fromkeys(extra, pa.float64())
    arrays = [
        pa.array(columns[name] if name in columns else np.full(rows, np.nan), type=kind, from_pandas=False)
        for name, kind in schema.items()
    ]
    with replacing(path) as temporary:
        pq.write_table(pa.Table.from_arrays(arrays, names=list(schema)), temporary)
