"""Drawings of a latent over pictures: outlines, crops, contact sheets, classes."""
