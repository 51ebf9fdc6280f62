"""Tables, figures and pages, made from whatever results are present."""
