"""It implements nothing."""
