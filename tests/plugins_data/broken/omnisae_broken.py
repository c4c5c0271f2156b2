"""It cannot be imported."""

NUMBER = int("seven")
