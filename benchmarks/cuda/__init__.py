"""The CUDA kernels through their C interface: on a GPU for speed, on the CPU for proof. TensorFlow is not needed."""
