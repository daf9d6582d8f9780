"""The statistics of ImageNet's pixels that torchvision's and most other published weights were trained with."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
