"""The `laurels` command."""
