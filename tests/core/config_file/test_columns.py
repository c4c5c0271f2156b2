"""Columns of hook points stay in the config that a run writes."""

from pathlib import Path

from omnisae.config import RunConfig
from omnisae.hooks.point import HookPoint, Told
from omnisae.run import Run
from omnisae.run_folder import RunFolder


def test_the_resolved_config_asks_for_the_same_columns(tmp_path: Path) -> None:
    config = RunConfig.model_validate(
        {
            "name": "r",
            "dataset": {"type": "core.table", "path": "t.npy"},
            "extractor": "core.vectors",
            "hooks": [{"at": "block", "columns": ["timestep"]}],
            "autoencoder": {"latents": 8, "activation": {"type": "core.topk", "k": 2}},
            "train": {"tokens": 100},
        }
    )
    run = Run(config, RunFolder(tmp_path))
    told = {"timestep": Told(argument="t", ticks=(900.0, 0.0))}
    run.points = [
        HookPoint(name="b", at=("block",), pattern="example d", width=5, told=told, columns=("timestep",)),
        HookPoint(name="p", at=("other",), pattern="example d", width=4, told=told),
    ]
    assert [hook.columns for hook in run.resolved().hooks] == [("timestep",), ()]
