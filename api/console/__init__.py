"""The operators' console: pages on the API's own server, made of what the API's routes answer."""
