"""The database's history, one purpose each, from the empty database and from the academy's own."""
