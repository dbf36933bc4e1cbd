"""What predictions say about a classifier, as numbers: no images, no drawing, no TensorFlow."""
