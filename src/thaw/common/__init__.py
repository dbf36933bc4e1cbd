"""What every room may use: errors, the terminal, files, signals, TensorFlow's start."""
