"""What engines took of memory, remembered to correct later estimates."""
