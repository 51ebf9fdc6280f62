"""Everything that a GPU must show, in one command of eight minutes: `python dev.py bench gpu`.

Each part is a module that yields rows. They run in a child process that writes every row as it comes, so a part that
fails, hangs or takes the process with it costs its own rest and nothing else.
"""
