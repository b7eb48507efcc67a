"""Text to a document: YAML with places, its schema, profiles and variants."""
