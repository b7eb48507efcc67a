"""Runs and reproductions as pages: one HTML file each that needs nothing else, and a gallery of all."""
