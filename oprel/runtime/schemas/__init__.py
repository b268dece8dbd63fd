"""JSON schemas in the form that engines turn into grammars."""
