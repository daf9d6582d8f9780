# The one list of ops. A line `kseg_add_op(<op>)` stands for the folder ops/<op>/ with
#   <op>.h      the contract            <op>_tf.cc  the TensorFlow op
#   <op>*.cc    the CPU kernel          <op>_py.cc  the NumPy binding
#   <op>*.cu    the CUDA kernel, once there is one
# and for the Python side: kseg_ops/<op>.py, kseg_ops/reference/<op>.py, tests/ops/test_<op>.py, benchmarks/ops/<op>.py.
kseg_add_op(roi_align)
kseg_add_op(confusion_matrix)
kseg_add_op(resize_argmax)
kseg_add_op(resize_softmax_cross_entropy)
