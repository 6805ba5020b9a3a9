"""The model: declarations of series and events, tables of numbers, states of probes."""
