"""Postgres and a broker that Laurels starts and stops itself, where none is given: a laptop, a demo, a test."""
