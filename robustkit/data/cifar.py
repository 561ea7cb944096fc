"""`cifar10` and `cifar100`: 50,000 and 10,000 colour images (Krizhevsky, 2009).

The content of CIFAR-10 is verified by sha256, whatever file it comes from. CIFAR-100's archive is
verified by torchvision's md5 when it is fetched; the cached file then by the checksums inside the
npz and by its number of images a class.
"""

from robustkit.data import published
from robustkit.data.dataset import Content

_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck"

_FINE_LABELS = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch
crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house
kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree
plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew
skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank
telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf
woman worm
"""

CIFAR10 = published.Published(
    name="cifar10",
    torchvision="CIFAR10",
    images=(3, 32, 32),
    classes=tuple(_CLASSES.split()),
    digests={
        "train": "1e91790dbaf241617ca1f29a9aba08eb9a62df84cc90676b47edd05ad2ab3c94",
        "test": "9a4c74f5c8b6f2c4e13d3a1dfb43a5a8cda8a9da515e99fd620d2013a1a6287a",
    },
)

CIFAR100 = published.Published(
    name="cifar100",
    torchvision="CIFAR100",
    images=(3, 32, 32),
    classes=tuple(_FINE_LABELS.split()),
    per_class={"train": 500, "test": 100},
)


def read_cifar10(split: str) -> Content:
    """Read "train" or "test" of CIFAR-10; raises `DataError` when absent or damaged."""
    return published.read(CIFAR10, split)


def read_cifar100(split: str) -> Content:
    """Read "train" or "test" of CIFAR-100; raises `DataError` when absent or damaged."""
    return published.read(CIFAR100, split)
