"""The frozen part of a network: it runs once over the images, and its activations are cached."""
