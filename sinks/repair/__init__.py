"""What `laurels repair` writes: entries, rows and figures that must be there and are not, in the caller's transaction."""
