"""The stages of the compiler as a person sees them: text, Python, drawings and pages."""
