"""Load, benchmarks and the choice of the default rule."""
