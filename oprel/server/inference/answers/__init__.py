"""What happens to the pieces of an answer on their way: recovery, thoughts, broken forms, endless repetition."""
