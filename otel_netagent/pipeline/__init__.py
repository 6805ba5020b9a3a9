"""From the probes to the outputs: starting probes, collecting numbers, reading events."""
