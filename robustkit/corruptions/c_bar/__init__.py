"""The corruptions of CIFAR-10-C-bar and ImageNet-C-bar, which are unlike those of the benchmark.

Their names are spelled as published. Source: Mintun, Kirillov and Xie, On interaction between
augmentations and corruptions in natural corruption robustness, NeurIPS 2021.
"""
