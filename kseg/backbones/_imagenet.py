"""The statistics of ImageNet's pixels that torchvision's and most other published weights were trained with."""

PIXEL_MEAN = (0.485, 0.456, 0.406)
PIXEL_STD = (0.229, 0.224, 0.225)
