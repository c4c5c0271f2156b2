"""`make bench`: omnisae beside other libraries, one process each, taking turns on the same data.

A *contestant* is a library's own training loop in a process of its own; a *race* is a list of contestants that take
turns; the *baton* is what lets one of them take a step. `python -m benchmarks.bench --help` lists the commands.
"""
