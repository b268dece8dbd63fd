"""Engine programs on this machine: listed in order of preference, probed once, set aside if they cannot run here."""
