"""Networks in the formats of other runtimes, each compared with the network that it was made of."""
