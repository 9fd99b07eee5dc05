from .evaluate import evaluated_images as evaluated_images
