"""`python -m otel_netagent` is `otel-netagent`."""

from otel_netagent.cli.netagent import main

main(prog_name="otel-netagent")
