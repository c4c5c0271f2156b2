"""Studies of what edits do to the pictures that a model makes."""
