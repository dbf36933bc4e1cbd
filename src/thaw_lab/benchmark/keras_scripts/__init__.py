"""The same work as people write it in Keras, float32: small scripts that know nothing of thaw and run alone."""
