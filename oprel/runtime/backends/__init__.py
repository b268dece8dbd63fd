"""The engines that oprel can start, each a module of its own here, or in another package that announces it.

A package announces a backend as an entry point of the group `oprel.backends`, which names a `Backend`.
"""
