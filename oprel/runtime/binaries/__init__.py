"""Engine programs on this machine: found in order, probed once, set aside when they cannot run here."""
