"""Trained networks applied to files of images, of any size."""
