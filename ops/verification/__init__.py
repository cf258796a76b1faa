"""What `laurels verify` is made of: the log, a snapshot of Postgres, the fold, and the comparison."""
