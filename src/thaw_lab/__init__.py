"""Measures and breaks thaw from outside; not a part of the package.

`benchmark` compares thaw with the same work written by hand in Keras, and `faults` kills, stops and starves trainings
and compares what they leave with a run that nobody touched. Both run commands by `process`, on images of
`sample_images`, and show `tables`.

A new part of the benchmark is a function in benchmark/parts/ and a row in PARTS of benchmark/run_benchmark.py.
A new fault is a function in faults/kills.py, disks.py or outages.py and a row in faults/run_faults.py's fault_trials.
Either has a value of `what` in thaw/config/tool_schemas.py, from which scripts/benchmark.py and scripts/faults.py read.
"""
