"""Benchmarks, and the peers they compare with: `laurels bench` runs them."""
