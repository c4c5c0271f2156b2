"""Processes, extractors and artifacts for tests."""

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from omnisae.autoencoders.about import ArtifactInfo
from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.config import AutoencoderConfig, HookConfig
from omnisae.extract.dataset import Example
from omnisae.interventions.operation import Tokens
from omnisae.interventions.sae import SAE
from omnisae.interventions.sparse import block_of
from omnisae.tokens.filter import TokenFilters
from omnisae_diffusion.asks import Ask
from omnisae_diffusion.bare import BareProcess, Classes
from omnisae_diffusion.extractor import DiffusionExtractor
from omnisae_diffusion.pipeline import PipelineProcess
from omnisae_diffusion.plugin import PipelineConfig
from omnisae_diffusion.selection.entry import Entry
from omnisae_diffusion.selection.table import LatentTable

LATENTS = 24


class Given:
    """A dataset of what is asked for, or of pictures."""

    def __init__(self, inputs):
        self.inputs, self.ids = list(inputs), [str(row) for row in range(len(inputs))]

    def __len__(self):
        return len(self.ids)

    def load(self, row):
        return Example(row, self.ids[row], self.inputs[row])

    def fingerprint(self):
        return "given"


def asks(count=2, **more):
    """Pictures of this and that, each with a seed of its own."""
    words = ("a red cat", "a blue house", "the tree in ink", "seven")
    return [Ask(text=words[i % 4], seed=i, **more) for i in range(count)]


def labelled(count=2):
    return [Ask(label=i, seed=i) for i in range(count)]


def pipeline(pipe, *, steps=2, guidance=1.0, size=None, **call):
    """The process of a pipeline. Calls need what tiny models need."""
    from diffusion_tiny import CALLS

    known = {key: value for key, value in CALLS.get(type(pipe).__name__, {}).items() if key != "guidance_scale"}
    return PipelineProcess(pipe, steps=steps, guidance=guidance, size=size, call=known | call)


def with_ddim(pipe):
    from diffusers import DDIMScheduler

    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    return pipe


def bare(tiny, *, steps=2, guidance=1.0, scheduler=None):
    """The tiny bare U-Net at work: ten labels, and the eleventh for none."""
    from omnisae_diffusion import conditions

    unet, own = tiny.unet2d()
    return BareProcess(
        "unet",
        unet,
        scheduler or own,
        conditions.call(unet),
        shape=(3, 16, 16),
        time="timestep",
        picture="sample",
        steps=steps,
        guidance=guidance,
        classes=Classes(10, 10),
    )


def extractor(process, inputs=(), **config):
    """An extractor over a process."""
    given = {"model": "tiny", "steps": process.steps, "guidance": process.guidance, "device": "cpu"} | config
    return DiffusionExtractor(PipelineConfig(**given), process, Given(inputs))


def hook(at, **more):
    return HookConfig.model_validate({"at": at, **more})


def read(one, at, inputs=None, **more):
    """The hook point, and its tokens of all examples in one batch."""
    (point,) = one.resolve([hook(at, **more)])
    rows = range(len(one.dataset))
    return point, one.extract(list(rows), inputs_of(one), [point]).tokens[point.name]


def inputs_of(one):
    return one.collate([one.prepare(one.dataset.load(row)) for row in range(len(one.dataset))])


def sae(one, at, *, k=5, filters=None, **more):
    """An artifact of a hook point, trained on nothing: its dictionary is drawn at random."""
    point, tokens = read(one, at, **more)
    # Codes of any scale: the activations of tiny models are.
    config = {"latents": LATENTS, "activation": {"type": "core.topk", "k": k}, "normaliser": "core.standard"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        autoencoder = Autoencoder(AutoencoderConfig.model_validate(config), point.width, seed=0)
        autoencoder.initialise(tokens.values.float())
        with torch.no_grad():
            autoencoder.decoder.add_(torch.randn_like(autoencoder.decoder) * 0.3)
    autoencoder.eval().requires_grad_(False)
    info = ArtifactInfo(hook=point, tokens=filters or TokenFilters(), parent=one.parent(), dataset="d", source="s")
    return SAE(autoencoder, info, {"max": torch.ones(LATENTS)}, Path("runs/x/sae"))


def table(artifact, times=(), *, latents=(0, 1, 2), method="saeuron", gates=None, targets=None, **more):
    """A table of the same latents at every time."""
    entry = Entry.of(latents, gates, np.ones(len(latents)) if targets is None else targets)
    given = {"axis": "timestep" if times else None, "identity": artifact.identity, "hook": artifact.info.hook.name}
    count = max(len(times), 1)
    return LatentTable(method, "seven", entries=(entry,) * count, times=tuple(times), **(given | more))


def hooks_on(components):
    """How many hooks are on all modules."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in components.modules())


def counted(module):
    """Count a module's forwards: `.calls` is their number, `.batches` the sizes of their first tensor."""
    seen = SimpleNamespace(calls=0, batches=[])

    def see(module, args, kwargs):
        seen.calls += 1
        seen.batches.append(len(next(one for one in (*args, *kwargs.values()) if isinstance(one, torch.Tensor))))

    seen.handle = module.register_forward_pre_hook(see, with_kwargs=True)
    return seen


@contextmanager
def seen(module, select=None):
    """What a module gives within the block, call by call, as later modules see it."""
    found = []

    def see(module, args, output):
        found.append((output if select is None else output[select]).clone())

    handle = module.register_forward_hook(see)
    try:
        yield found
    finally:
        handle.remove()


class Room:
    """A denoiser of two steps, an artifact of its middle, and tokens with their codes."""

    def __init__(self, tiny, guidance=1.0):
        self.process = bare(tiny, steps=2, guidance=guidance)
        self.extractor = extractor(self.process, labelled(), branch="both")
        self.sae = sae(self.extractor, "unet.mid_block")
        self.hook = self.sae.info.hook
        _, batch = read(self.extractor, "unet.mid_block")
        self.ticks = self.hook.told["timestep"].ticks
        told = torch.tensor(self.ticks)[batch.coords[:, 0].long()]
        self.tokens = Tokens(
            batch.example, batch.coords, batch.role, self.hook.axes, {"timestep": told}, batch.values.float()
        )
        self.codes = self.sae.encode(batch.values.float(), check=False)
        self.dense = self.values(self.codes)

    def table(self, entries, times=None, **more):
        given = {"identity": self.sae.identity, "hook": self.hook.name} | more
        axis = None if times == () else "timestep"
        return LatentTable("m", "seven", entries=tuple(entries), times=self.ticks if times is None else times,
                           axis=axis, **given)  # fmt: skip

    def apply(self, operation):
        return self.values(operation.prepared(self.sae.known).apply(self.codes, self.tokens))

    def values(self, codes):
        return block_of(codes, tuple(range(codes.width)))
