"""The losses of detectors that work on regions, over what a `TargetSampler` drew."""

from __future__ import annotations

import tensorflow as tf

# Where the loss of a box turns from a parabola into a line.
BETA = 1 / 9


def smooth_l1(differences):
    """`x**2 / (2 * BETA)` below `BETA`, `x - BETA / 2` above (Girshick 2015, "Fast R-CNN", with torchvision's beta)."""
    size = tf.abs(differences)
    return tf.where(size < BETA, 0.5 * size * size / BETA, size - 0.5 * BETA)


def mean_over(values, counted):
    """The mean of the values that count; 0 if none does."""
    weights = tf.cast(counted, tf.float32)
    return tf.reduce_sum(values * weights) / tf.maximum(tf.reduce_sum(weights), 1.0)


def box_loss(deltas, drawn):
    """The loss of the positive samples' deltas `(B, S, 4)`, divided by the number of all samples."""
    each = tf.reduce_sum(smooth_l1(tf.where(drawn["positive"][..., None], deltas - drawn["deltas"], 0.0)), axis=-1)
    return tf.reduce_sum(each) / tf.maximum(tf.reduce_sum(tf.cast(drawn["valid"], tf.float32)), 1.0)


def objectness_loss(logits, drawn):
    """Binary cross-entropy of logits `(B, S)` with which samples are positive, the mean over the samples."""
    labels = tf.cast(drawn["positive"], tf.float32)
    return mean_over(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits), drawn["valid"])


def class_loss(logits, drawn):
    """Cross-entropy of logits `(B, S, 1 + classes)`, the background first, the mean over the samples."""
    each = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=drawn["classes"] + 1, logits=logits)
    return mean_over(each, drawn["valid"])


def mask_loss(logits, targets, positive):
    """Binary cross-entropy of mask logits `(B, S, h, w)`, the mean over the pixels of the positive samples."""
    each = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)
    return mean_over(tf.reduce_mean(each, axis=[-2, -1]), positive)
