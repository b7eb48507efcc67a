"""Running a program: parameters, draws, the loop, checkpoints and what is shown on the way."""
