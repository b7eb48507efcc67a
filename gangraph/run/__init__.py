"""Stage 7: a program with parameters, optimizers and state, that steps, trains, saves and resumes."""
