"""What a person does with runs: train one from a spec to a run folder, measure it, draw from it."""
