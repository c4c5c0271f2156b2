"""One module a library. Each has `build(setting, rows, options)`, which returns a Contestant."""
