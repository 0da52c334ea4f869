"""The tasks of this repository, and the example to copy: one line gives a workspace the runbook."""

from hoox_tasks import ns

__all__ = ["ns"]
