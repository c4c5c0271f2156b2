"""What open_clip's image towers say of their own tokens."""

from torch import nn

from omnisae_vision import towers_timm
from omnisae_vision.probing import Grid
from omnisae_vision.towers import Tower, stage


def tower(visual: nn.Module, picture: Grid) -> Tower:
    """Facts of an image tower: open_clip's own ViT or ResNet, or a trunk of timm's."""
    if hasattr(visual, "trunk"):
        return towers_timm.tower(visual.trunk, picture)
    if hasattr(visual, "layer4"):
        return _resnet(visual, picture)
    return _transformer(visual, picture)


def _transformer(visual: nn.Module, picture: Grid) -> Tower:
    """Patches behind one class token. CoCa pools by learnt queries, of which the first is the picture's vector."""
    pools = [getattr(visual, name, None) for name in ("attn_pool", "attn_pool_contrastive")]
    asked = [int(pool.query.shape[0]) for pool in pools if pool is not None]
    y, x = visual.grid_size
    return Tower(
        picture=picture,
        grid=(int(y), int(x)),
        front=(("cls", 1),),
        queries=frozenset(queries - first for queries in asked for first in (0, 1) if queries > first),
        widths=frozenset({int(visual.class_embedding.shape[0]), int(visual.output_dim)}),
        raster=True,
    )


def _resnet(visual: nn.Module, picture: Grid) -> Tower:
    """Four stages, at a quarter of the picture and half as much each time; pooled by attention."""
    layers = [visual.layer1, visual.layer2, visual.layer3, visual.layer4]
    widths = [int(layer[-1].conv3.out_channels) for layer in layers]
    return Tower(picture=picture, stages=tuple(stage(picture, w, 4 * 2**i) for i, w in enumerate(widths)))
