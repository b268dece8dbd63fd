"""What the command line says about itself: its manual, and hints to other words for what it does."""
