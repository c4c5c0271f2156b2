"""Transformers that read a cell as a sequence of genes: one token a gene in a cell."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from omnisae.errors import ArtifactError, HookError, PluginError, UnreadableExample
from omnisae.extract.dataset import Dataset, Example
from omnisae.extract.extractor import Extraction
from omnisae.extract.module import ModuleExtractor, to_device
from omnisae.hooks.point import HookPoint
from omnisae.store.key import content_key
from omnisae.tokens.arrange import Arranged
from omnisae.tokens.batch import TokenBatch
from omnisae_single_cell.expression import take
from omnisae_single_cell.gene_encoding import by_bins, by_rank, present
from omnisae_single_cell.tables import cells_of
from omnisae_single_cell.vocabulary import match

if TYPE_CHECKING:
    from omnisae_single_cell.plugin import GeneModelConfig

log = logging.getLogger(__name__)
NONE, SPECIAL = -1, -2
"""What stands in place of a gene at padding, and at special tokens."""
_BERT = {"hidden_act": "relu", "initializer_range": 0.02, "layer_norm_eps": 1e-12, "type_vocab_size": 2}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "geneformer-v1-10m": _BERT | {
        "vocab_size": 25426, "hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4,
        "intermediate_size": 512, "max_position_embeddings": 2048,
    },
    "geneformer-v2-104m": _BERT | {
        "vocab_size": 20275, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072, "max_position_embeddings": 4096,
    },
    "geneformer-v2-316m": _BERT | {
        "vocab_size": 20275, "hidden_size": 1152, "num_hidden_layers": 18, "num_attention_heads": 18,
        "intermediate_size": 4608, "max_position_embeddings": 4096,
    },
}  # fmt: skip
"""Architectures that can be built with random weights, by name."""


class GeneModel(ModuleExtractor):
    """A masked language model of transformers over genes. A token is a gene in a cell: its step along the axis `gene`
    is the column of the dataset's table, whatever its place in the sequence, so that it names the same gene in all
    cells.

    Hook points are the model's modules, such as `bert.encoder.layer.3`. `<cls>` is a role of its own where the model
    has one; `<eos>` and padding give no tokens. `loss` is the masked language model's: the mean cross-entropy at a
    fixed random share of a cell's genes. In an edit, steps along `gene` are places in the sequence.
    """

    def __init__(self, config: "GeneModelConfig", dataset: Dataset) -> None:
        self.config, self._cells, self._process = config, cells_of(dataset, config.type), os.getpid()
        self._counts = self._cells.counts(config.counts, "a gene model")
        names = self._cells.var_column(config.gene_ids, config.counts)
        self.vocabulary = match(self._cells, config.vocabulary, config.medians, names, config.least_match)
        self._cells.remark(self.vocabulary.told())
        log.info("%s", self.vocabulary.told())
        model = _model(config, self.vocabulary.size)
        longest = int(model.config.max_position_embeddings)
        self._room = min(config.length or longest, longest) - sum(one is not None for one in self._around)
        super().__init__(model, batch_size=config.batch_size, device=config.device)

    @property
    def _around(self) -> tuple[int | None, int | None]:
        """What stands before and behind the genes."""
        known = self.vocabulary
        return (known.cls, known.eos) if self.config.special else (None, None)

    def describe(self) -> dict[str, Any]:
        known = self.vocabulary
        kept = self.config.model_dump(mode="json", exclude={"model", "vocabulary", "medians", "batch_size", "device"})
        return kept | {"genes": content_key([known.token.tolist(), known.median.tolist()])}

    def prepare(self, example: Example) -> dict[str, Tensor]:
        columns, counts = present(self._row(example.row))
        total, known = float(counts.sum()), self.vocabulary
        able = known.token[columns] >= 0
        if not able.any():
            raise UnreadableExample(
                f"{example.id}: none of its {len(columns)} genes with a count is known to the model", "leave it out"
            )
        columns, counts = columns[able], counts[able]
        level = np.zeros(0, dtype=np.int64)
        if self.config.encoding == "rank":
            order = by_rank(columns, counts, total, known.median, self._room)
        else:
            order, level = by_bins(columns, counts, self.config.bins, self._room)
        cls, eos = self._around
        front, back = [] if cls is None else [cls], [] if eos is None else [eos]
        around = [SPECIAL] * len(front), [SPECIAL] * len(back)
        out = {
            "input_ids": torch.tensor([*front, *known.token[order].tolist(), *back]),
            "gene": torch.tensor([*around[0], *order.tolist(), *around[1]]),
        }
        if self.config.encoding == "bins":
            out["token_type_ids"] = torch.tensor([*([0] * len(front)), *level.tolist(), *([0] * len(back))])
        return out

    def collate(self, prepared: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        fill = {"input_ids": self.vocabulary.pad, "gene": NONE, "token_type_ids": 0}
        return {
            name: nn.utils.rnn.pad_sequence([one[name] for one in prepared], batch_first=True, padding_value=fill[name])
            for name in prepared[0]
        }

    def probe(self) -> dict[str, Tensor]:
        found = []
        for row in range(len(self._cells)):
            try:
                found.append(self.prepare(Example(row, self._cells.ids[row], row)))
            except UnreadableExample:
                continue
            if len(found) == 2:
                break
        return self.collate(found)

    def forward(self, inputs: dict[str, Tensor]) -> Any:
        given = {"input_ids": inputs["input_ids"], "attention_mask": (inputs["gene"] != NONE).long()}
        if "token_type_ids" in inputs:  # a bag of genes: no place in the sequence means anything
            given |= {"token_type_ids": inputs["token_type_ids"], "position_ids": torch.zeros_like(inputs["gene"])}
        return self.model(**given)

    def declare(self, path: str, view: str, shape: tuple[int, ...]) -> tuple[str, dict[str, int]]:
        if len(shape) != 3:
            raise HookError(
                f"hooks.at: {path!r} yields a tensor of shape {list(shape)}, not one vector a gene",
                "hook a block, e.g. bert.encoder.layer.3, or declare the layout",
            )
        return ("example ([cls] + gene) d" if self._around[0] is not None else "example gene d"), {}

    def present(self, inputs: dict[str, Tensor], point: HookPoint, tokens: Arranged) -> Bool[Tensor, " token"] | None:
        if "gene" not in point.axes:
            return None
        place = self._places(inputs, tokens)
        return (place >= 0) | (tokens.role != 0)

    def extract(self, rows: Sequence[int], inputs: Any, hooks: Sequence[HookPoint]) -> Extraction:
        found = super().extract(rows, inputs, hooks)
        return Extraction(
            found.rows,
            {hook.name: self._named(rows, inputs, hook, found.tokens[hook.name]) for hook in hooks},
        )

    def logits(self, inputs: dict[str, Tensor]) -> Float[Tensor, "example position word"]:
        """What the model says of every place, under whatever edits are in force."""
        found: Tensor = self.forward(to_device(inputs, self.device)).logits
        return found

    def loss(self, rows: Sequence[int], inputs: dict[str, Tensor]) -> Float[Tensor, " example"]:
        hidden = torch.zeros(inputs["gene"].shape, dtype=torch.bool)
        for i, row in enumerate(rows):
            genes = torch.nonzero(inputs["gene"][i] >= 0)[:, 0].cpu().numpy()
            count = max(1, round(self.config.mask * len(genes)))
            hidden[i, np.random.default_rng([self.config.seed, int(row)]).permutation(genes)[:count]] = True
        hidden = hidden.to(inputs["gene"].device)
        asked = inputs | {"input_ids": inputs["input_ids"].masked_fill(hidden, self.vocabulary.mask)}
        with torch.no_grad():
            said = self.forward(to_device(asked, self.device)).logits.float()
        truth = inputs["input_ids"].to(said.device)
        each = nn.functional.cross_entropy(said.transpose(1, 2), truth, reduction="none")
        hidden = hidden.to(said.device)
        return (each * hidden).sum(dim=1) / hidden.sum(dim=1)

    def _places(self, inputs: dict[str, Tensor], tokens: Arranged | TokenBatch) -> Tensor:
        """The gene of every token, by its example in the batch and its place in the sequence."""
        front = int(self._around[0] is not None)
        axis = tokens.coords[:, -1].long()
        gene = inputs["gene"].to(axis.device)
        return gene[tokens.example, (axis + front).clamp(min=0)].where(axis >= 0, SPECIAL)

    def _named(self, rows: Sequence[int], inputs: Any, hook: HookPoint, tokens: TokenBatch) -> TokenBatch:
        """The tokens with the column of their gene for their place in the sequence, ascending in each example."""
        if "gene" not in hook.axes:
            return tokens
        within = torch.tensor([{row: i for i, row in enumerate(rows)}[int(row)] for row in tokens.example])
        place = self._places(inputs, TokenBatch(tokens.values, within, tokens.coords, tokens.role))
        coords = tokens.coords.clone()
        coords[:, -1] = torch.where(tokens.role == 0, place, -1).to(coords.dtype)
        return TokenBatch(tokens.values, tokens.example, coords, tokens.role)

    def _row(self, row: int) -> Any:
        if self._cells.config.backed and os.getpid() != self._process:  # handles on files do not fork
            self._cells, self._process = type(self._cells)(self._cells.config), os.getpid()
            self._counts = self._cells.table(self.config.counts)
        return take(self._counts, np.array([row]))


def _model(config: "GeneModelConfig", words: int) -> nn.Module:
    try:
        import transformers
    except ImportError as error:
        raise PluginError(
            f"single_cell.gene_model needs the package transformers, which cannot be imported ({error})",
            'pip install "omnisae-single-cell[transformers]"',
        ) from error
    bins = {"type_vocab_size": config.bins} if config.encoding == "bins" else {}
    if config.model in ARCHITECTURES:
        own = transformers.BertConfig(**(ARCHITECTURES[config.model] | bins | config.settings), pad_token_id=0)
        _fits(own.vocab_size, words, config)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            made: nn.Module = transformers.BertForMaskedLM(own)
        return made
    folder = Path(config.model).expanduser()
    if not (folder / "config.json").is_file():
        raise ArtifactError(
            f"extractor.model: {config.model!r} is no folder with a config.json",
            f"name a folder saved by transformers, or for random weights one of {', '.join(ARCHITECTURES)}",
        )
    try:
        model: nn.Module = transformers.AutoModelForMaskedLM.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ArtifactError(
            f"extractor.model: {folder} cannot be loaded as a masked language model: {str(error).splitlines()[0]}",
            "name a folder with config.json and model.safetensors",
        ) from error
    _fits(int(model.config.vocab_size), words, config)
    return model


def _fits(known: int, words: int, config: "GeneModelConfig") -> None:
    if words > known:
        raise ArtifactError(
            f"extractor.vocabulary: its largest number is {words - 1}, and {config.model} knows {known} words",
            "name the vocabulary that belongs to the model",
        )
