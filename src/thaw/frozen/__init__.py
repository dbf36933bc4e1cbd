"""The frozen part of a network: run once over the images, its activations kept."""
