"""The peers: other ways to get a topic's events into Postgres, each a program that reads the worker's own settings."""
