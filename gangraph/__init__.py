"""gangraph: write a GAN as a graph; the engine checks it, plans it, compiles it and runs it."""
