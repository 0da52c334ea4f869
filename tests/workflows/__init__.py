"""The workflows: linted, and their steps run."""
