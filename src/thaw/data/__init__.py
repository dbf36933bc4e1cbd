"""Data sets: where images come from, how they are scanned, split, decoded, augmented and batched.

The order of work: `dataset_table.load_named_catalog` -> `scan.scan_catalog` -> `splits.make_splits` ->
`pixels.of_scan` -> `dataset.Dataset` -> `image_batches.ImageBatches`. `manifest` records what was used,
`exact_duplicates` warns of equal images.
Decoded pixels and results of the scan are cached by the file's hash: see `probe`, `dataset_cache` and `pixel_stores`.
"""
