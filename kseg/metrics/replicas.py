"""Counts of one replica as part of the counts of all."""

from __future__ import annotations

import tensorflow as tf


def add_over_replicas(variable, value):
    """Add to a metric's variable (of aggregation "sum") what this replica has counted.

    Args:
        variable: a variable of a Keras metric.
        value: tensor of its shape and dtype.
    """
    context = tf.distribute.get_replica_context()
    if not hasattr(variable, "synchronization") and context is not None and context.num_replicas_in_sync > 1:
        # The oldest supported Keras gives each replica its own copy and reads the first one's.
        value = context.all_reduce(tf.distribute.ReduceOp.SUM, value)
    variable.assign_add(value)
