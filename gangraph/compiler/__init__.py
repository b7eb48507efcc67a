"""From a resolved spec to a program: build, check, plan, lower."""
