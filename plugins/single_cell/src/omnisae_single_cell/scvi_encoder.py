"""The encoder of an scvi-tools model as an extractor: one token a cell."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from omnisae.errors import ArtifactError, HookError, PluginError
from omnisae.extract.dataset import Dataset, Example
from omnisae.extract.module import ModuleExtractor
from omnisae.hooks.point import HookPoint
from omnisae_single_cell.expression import take
from omnisae_single_cell.h5ad import H5adDataset
from omnisae_single_cell.scvi_checkpoint import read_checkpoint
from omnisae_single_cell.tables import cells_of

if TYPE_CHECKING:
    from omnisae.config import HookConfig
    from omnisae_single_cell.plugin import ScviConfig


class ScviExtractor(ModuleExtractor):
    """Hook points are the modules of the encoder, such as `z_encoder.encoder` (hidden layers) and
    `z_encoder.mean_encoder` (the mean of a cell's latent variables).

    Modules behind the sampling of the latent variables see random input and are refused. `loss` is the model's own
    reconstruction loss of each cell, with the same random numbers whatever edits are in force.
    """

    def __init__(self, config: "ScviConfig", dataset: Dataset) -> None:
        cells = cells_of(dataset, config.type)
        self.config = config
        fitted = _load(config, cells) if config.checkpoint else _trained_here(config, cells)
        self._cells = fitted.adata_manager.create_torch_dataset()
        super().__init__(fitted.module.eval(), batch_size=config.batch_size, device="cpu")

    def resolve(self, hooks: "Sequence[HookConfig]") -> list[HookPoint]:
        points = super().resolve(hooks)
        for point in points:
            behind = [path for path in point.at if not path.startswith(("z_encoder", "l_encoder"))]
            if behind:
                raise HookError(
                    f"hooks.at: {behind[0]!r} lies behind the sampling of latent variables and sees random input",
                    "hook a module of the encoder: z_encoder.encoder or z_encoder.mean_encoder",
                )
        return points

    def describe(self) -> dict[str, Any]:
        return {"counts": self.config.counts, "seed": self.config.seed}

    def prepare(self, example: Example) -> dict[str, Tensor]:
        return {
            name: torch.as_tensor(np.asarray(value)).reshape(-1) for name, value in self._cells[example.row].items()
        }

    def probe(self) -> dict[str, Tensor]:
        return self.collate([self.prepare(Example(row, "", row)) for row in (0, 1)])

    def forward(self, inputs: dict[str, Tensor]) -> Any:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            return self.model(inputs)  # type: ignore[misc]

    def declare(self, path: str, view: str, shape: tuple[int, ...]) -> tuple[str, dict[str, int]]:
        if len(shape) != 2:
            raise HookError(
                f"hooks.at: {path!r} yields a tensor of shape {list(shape)}, not one vector a cell",
                "declare its layout",
            )
        return "example d", {}

    def loss(self, rows: Sequence[int], inputs: dict[str, Tensor]) -> Float[Tensor, " example"]:
        with torch.no_grad():
            output = self.forward(inputs)[2]
        parts = output.reconstruction_loss
        return (sum(parts.values()) if isinstance(parts, dict) else parts).detach()


def _scvi(name: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import scvi.model
    except ImportError as error:
        raise PluginError(
            f"extractor.type 'single_cell.scvi' needs scvi-tools, which cannot be imported: {error}",
            'pip install "omnisae-single-cell[scvi]"',
        ) from error
    return getattr(scvi.model, name)


def _counts(cells: H5adDataset, where: str) -> anndata.AnnData:
    """A copy of the counts with the cells' columns: setting a model up writes into its table."""
    counts = cells.counts(where, "an scvi-tools model")
    counts = take(counts, np.arange(counts.shape[0]))
    table = anndata.AnnData(counts.astype(np.float32), obs=cells.data.obs.copy())
    table.var_names = cells.gene_names("X")
    return table


def _load(config: "ScviConfig", cells: H5adDataset) -> Any:
    """The model as it was saved, its genes found among the dataset's."""
    saved = read_checkpoint(Path(str(config.checkpoint)))
    if saved.model != config.model:
        raise ArtifactError(
            f"{config.checkpoint} holds a {saved.model}, and extractor.model asks for {config.model}",
            f"set extractor.model to {saved.model}",
        )
    table = _counts(cells, config.counts)
    missing = sorted(set(saved.genes) - set(table.var_names))
    if missing:
        raise ArtifactError(
            f"{len(missing)} of the {len(saved.genes)} genes of {config.checkpoint} are not in {cells.path}, "
            f"e.g. {', '.join(missing[:3])}",
            "name the column of gene names (dataset.var_names), or load the genes that the model was trained on",
        )
    table = table[:, saved.genes].copy()
    kind = _scvi(saved.model)
    setup = {name: value for name, value in saved.setup.items() if name != "layer"}
    kind.setup_anndata(table, source_registry=saved.registry, **setup)
    model = kind(table, **saved.arguments)
    model.module.load_state_dict(saved.weights)
    return model


def _trained_here(config: "ScviConfig", cells: H5adDataset) -> Any:
    """The model trained on the dataset's counts, or read from the cache where this very training was done before."""
    from omnisae_single_cell.scvi_cache import cached_weights, keep_weights

    table = _counts(cells, config.counts)
    kind = _scvi(config.model)
    kind.setup_anndata(table, batch_key=config.batch_key)
    import scvi

    scvi.settings.seed = config.seed
    model = kind(table, n_latent=config.n_latent, n_hidden=config.n_hidden, n_layers=config.n_layers)
    key = {"data": cells.fingerprint(), "config": config.model_dump(mode="json"), "scvi": scvi.__version__}
    weights = cached_weights(key)
    if weights is not None:
        model.module.load_state_dict(weights)
        return model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.train(max_epochs=config.epochs, accelerator="cpu", enable_progress_bar=False, logger=False)
    keep_weights(key, model.module.state_dict())
    return model
