"""Coupling: progress and license stand at the same level. What compares them, plans repairs, and refuses at commit."""
