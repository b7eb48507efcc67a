"""A trained network on images of any size: files in, files out."""
