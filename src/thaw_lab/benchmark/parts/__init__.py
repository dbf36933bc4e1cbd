"""The parts of the benchmark: a function each from a PartRunner to a PartResult; run_benchmark.PARTS lists them."""
