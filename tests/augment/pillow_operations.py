"""The operations of AugMix as Pillow has them: from an image and an argument to an image."""

from PIL import Image, ImageEnhance, ImageOps


def affine(image, *matrix):
    return image.transform(image.size, Image.AFFINE, matrix, resample=Image.BILINEAR)


PILLOW = {
    "autocontrast": lambda i, _: ImageOps.autocontrast(i),
    "equalize": lambda i, _: ImageOps.equalize(i),
    "posterize": lambda i, a: ImageOps.posterize(i, int(a)),
    "rotate": lambda i, a: i.rotate(a, resample=Image.BILINEAR),
    "solarize": lambda i, a: ImageOps.solarize(i, a),
    "shear_x": lambda i, a: affine(i, 1, a, 0, 0, 1, 0),
    "shear_y": lambda i, a: affine(i, 1, 0, 0, a, 1, 0),
    "translate_x": lambda i, a: affine(i, 1, 0, a, 0, 1, 0),
    "translate_y": lambda i, a: affine(i, 1, 0, 0, 0, 1, a),
    "color": lambda i, a: ImageEnhance.Color(i).enhance(a),
    "contrast": lambda i, a: ImageEnhance.Contrast(i).enhance(a),
    "brightness": lambda i, a: ImageEnhance.Brightness(i).enhance(a),
    "sharpness": lambda i, a: ImageEnhance.Sharpness(i).enhance(a),
}
MOVING = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
