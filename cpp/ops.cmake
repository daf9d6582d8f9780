# The one list of ops. A line `kseg_add_op(<op>)` stands for the folder ops/<op>/ with
#   <op>.h       the contract                     <op>_tf.cc   the TensorFlow op
#   <op>*.cc     the CPU kernel                   <op>_xla.cc  the handler for XLA
#   <op>_call.h  what both of these check and run  <op>_py.cc   the NumPy binding
#   <op>*.cu     the CUDA kernel, once there is one
# and for the Python side: kseg_ops/<op>.py, kseg_ops/reference/<op>.py, tests/ops/test_<op>.py, benchmarks/ops/<op>.py.

# A line `kseg_add_numpy_op(<op>)` stands for a folder without <op>_tf.cc: what files and evaluation need and no graph
# does. Its Python side: kseg_ops/<op>.py, a module of functions that is kseg_ops.numpy.<op>, too; its reference in NumPy,
# kseg_ops/reference/<op>.py; tests/ops/test_<op>.py; benchmarks/ops/<op>.py.
kseg_add_op(roi_align)
kseg_add_op(crop_masks)
kseg_add_op(confusion_matrix)
kseg_add_op(resize_argmax)
kseg_add_op(atrous_separable_conv2d)
kseg_add_op(depthwise_atrous_conv2d)
kseg_add_op(multilevel_roi_align)
kseg_add_op(nms)
kseg_add_op(batched_nms)
kseg_add_op(connected_components)
kseg_add_op(distance_transform)
kseg_add_op(max_pool_with_indices)
kseg_add_op(max_unpool2d)
kseg_add_numpy_op(rle)
kseg_add_numpy_op(coco_eval)
kseg_add_op(mask_iou)
kseg_add_op(mask_nms)
kseg_add_op(paste_masks)
kseg_add_op(atrous_conv2d)
kseg_add_op(aspp)
kseg_add_op(resize_softmax_cross_entropy)
