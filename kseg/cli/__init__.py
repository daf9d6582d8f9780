"""The `kseg` command.

Installed as the top-level package `kseg_cli`, because running anything inside the package `kseg` imports TensorFlow
first and `kseg --help` should answer at once. Each command imports what it needs when it runs.
"""
