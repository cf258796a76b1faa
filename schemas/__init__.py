"""The vocabulary: events, rewards, errors and settings. Pure; only `schemas.client` talks to Kafka."""
