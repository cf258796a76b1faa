"""What must hold of the reward tables: each invariant one named query over some users, or over all in ranges of ids."""
