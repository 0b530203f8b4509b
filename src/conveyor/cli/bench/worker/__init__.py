"""The processes behind `conveyor bench`: `python -m conveyor.cli.bench.worker PEER`.

Each reads questions, one JSON object a line, and writes one answer to each. A module here
makes the jobs of one peer ready to run; it alone imports that peer's framework.
"""
