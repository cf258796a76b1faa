"""The routes, one module per kind of thing; each has `add_routes(app)`."""
