"""What bss costs and gains, measured: one command each, ``python -m benchmarks.<name>``, into docs/benchmarks.md."""
