"""Stage 5: what each update computes, reuses and frees."""
