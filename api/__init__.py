"""HTTP: publish, transfers, admin sync, reads and health; and the console."""
