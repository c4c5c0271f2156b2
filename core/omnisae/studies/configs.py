"""The studies that core offers. No torch here: `build` imports what is heavy."""

from omnisae.plugins.component import Component

COMPONENTS: tuple[type[Component], ...] = ()
