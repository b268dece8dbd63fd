"""The loaded models: admission, placement in memory, slots, start and unloading of their engines."""
