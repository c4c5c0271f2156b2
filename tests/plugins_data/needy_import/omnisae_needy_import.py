"""It imports a declared dependency that is missing."""

import no_such_library  # noqa: F401
