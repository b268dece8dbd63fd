"""What happens to this process: forks, and time in which it cannot run."""
