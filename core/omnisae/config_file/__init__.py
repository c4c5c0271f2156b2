"""Config files: YAML and overrides in, a validated config out, and back."""

from omnisae.config_file.load import dump, load, parse, validate

__all__ = ["dump", "load", "parse", "validate"]
