"""What a home holds beside models: which of it is damaged, and how it is set aside."""
