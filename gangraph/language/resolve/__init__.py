"""A document to a spec."""
