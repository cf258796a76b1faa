"""Decides and moves: pure rules, the Faust app, one agent per topic, reconciliation, outbox relay."""
