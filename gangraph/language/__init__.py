"""From text to a resolved spec: documents, expressions, and what is known before anything runs."""
