"""relatum in the loops of others: Lightning, and the Trainer of transformers.

Each is a file of its own, imported when it is asked for; a plain loop needs none of them
(``examples/plain_loop.py``).
"""
