"""Pictures: where they come from, how they are split, decoded, changed and handed out in batches.

The way through: `sources.load` -> `splits.split` -> `pixels.read` -> `pipeline.Batches`;
`manifest` writes down what was used, `duplicates` says what equal images mean for it.
What is decoded is kept by the file's hash: `scan` looks, `kept` keeps, `shelves` hold.
"""
