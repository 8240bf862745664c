"""What benchmarks run inside the software host: standard library only, as Python starts slowly."""
