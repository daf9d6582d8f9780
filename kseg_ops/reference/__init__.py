"""Pure-TensorFlow references: one module per op, each the specification of what its compiled kernel computes.

They hold stock TensorFlow operations only, compile under XLA, and run wherever the compiled library does not.
"""
