"""Long runs over thousands of cases, left out of the ordinary suite; each says its command."""
