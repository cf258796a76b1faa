"""All SQL: tables, the ledger transaction, coupling, transfers, positions, dead letters."""
