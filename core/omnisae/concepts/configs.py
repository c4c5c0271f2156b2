"""The components that core offers from this room. No torch here: `build` imports what is heavy."""

from typing import TYPE_CHECKING, Literal

from omnisae.plugins.component import Component
from omnisae.plugins.kinds import MetricConfig

if TYPE_CHECKING:
    from omnisae.concepts.metric import Metric


class F1Config(MetricConfig):
    """Precision, recall (of units and of instances) and F1. Always in force: F1 chooses latents and thresholds."""

    type: Literal["core.f1"] = "core.f1"

    def build(self) -> "Metric":
        from omnisae.concepts.metrics import F1

        return F1()


class AurocConfig(MetricConfig):
    """Area under the ROC curve."""

    type: Literal["core.auroc"] = "core.auroc"

    def build(self) -> "Metric":
        from omnisae.concepts.metrics import Auroc

        return Auroc()


class IouConfig(MetricConfig):
    """Intersection over union at the threshold of F1."""

    type: Literal["core.iou"] = "core.iou"

    def build(self) -> "Metric":
        from omnisae.concepts.metrics import Iou

        return Iou()


class SpearmanConfig(MetricConfig):
    """Spearman's rank correlation with fractions. Always in force where there are any: it chooses their latents."""

    type: Literal["core.spearman"] = "core.spearman"

    def build(self) -> "Metric":
        from omnisae.concepts.metrics import Spearman

        return Spearman()


COMPONENTS: tuple[type[Component], ...] = (F1Config, AurocConfig, IouConfig, SpearmanConfig)
