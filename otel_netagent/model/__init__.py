"""What flows: declarations of series and events, tables of numbers, the state of probes."""
