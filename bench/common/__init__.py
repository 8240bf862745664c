"""What benchmarks share: guests, readings, results, plots."""
