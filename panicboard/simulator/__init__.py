"""The four venue APIs from the other side: one process, one port, everything in memory.

It imports nothing else of panicboard and no Django, so that what it says of a venue is said independently
of what the adapters believe. `manage.py simulator` and `python -m panicboard.simulator` start it.
"""
