"""It imports what it does not declare."""

import no_such_module  # noqa: F401
