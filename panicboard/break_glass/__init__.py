"""Break-glass: a panic that needs neither the database nor Redis.

The administrator exports a file of credentials beforehand, sealed with a passphrase. While the database is
away, `manage.py panic --break-glass FILE` sweeps from that file and keeps a journal; when the database is
back, the journal becomes a panic like any other. Only the commands and the keeper, which imports journals,
know of it.
"""
