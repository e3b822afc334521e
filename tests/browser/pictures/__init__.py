"""Every screen in every state, as pictures of the running product: see `tests/browser/screenshots.py`.

`camera` takes them, `stage` brings states about with real processes and the venues' faults, `plays` is the
table of them all.
"""
