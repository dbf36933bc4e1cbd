"""What every package may use: errors, console, files, downloads, threads, signals, hardware, TensorFlow's start."""
