"""Translations: how a shift of pixels changes labels, and inference that it cannot change.

`RICS` wraps a classifier so that one crop, selected by its own pixels, is classified: `select` and
`select_windows` say which, by scores such as `filter_score` and `hash_score`, and `canonical` does
the same for circular shifts. `CropShift` and its siblings are models of a shift; `consistency`,
`adversary` and `embedding_change` measure what it does, `shift_grid` shows it; `safe_shifts`,
`noise_radius` and `SlidingVote` certify what it cannot do.
"""

from robustkit.translation.adversary import Adversary, adversary
from robustkit.translation.averaging import CropAverage, ReflectionPad
from robustkit.translation.certificates import (
    ShiftCertificate,
    certified_radius,
    noise_radius,
    safe_shifts,
)
from robustkit.translation.circular import canonical, circular_scores, roll, select_circular
from robustkit.translation.consistency import (
    Consistency,
    consistency,
    random_real_shifts,
    random_shifts,
    two_crops,
)
from robustkit.translation.content_hash import HashScore, hash_score
from robustkit.translation.embedding import EmbeddingChange, embedding_change
from robustkit.translation.labels import shifted_labels
from robustkit.translation.levels import Size, as_levels
from robustkit.translation.phase import phase_canonical
from robustkit.translation.polyphase import with_blur_pool, with_polyphase
from robustkit.translation.resampling import SubpixelShift, Zoom, subpixel_shifts, zooms
from robustkit.translation.rics import RICS, best_positions, score_maps
from robustkit.translation.scores import (
    FilterScore,
    Score,
    filter_score,
    laplacian_score,
    resolve_score,
)
from robustkit.translation.seam import seam_profiles
from robustkit.translation.selection import Selection, crops_at, select
from robustkit.translation.shift_grid import ShiftGrid, shift_grid
from robustkit.translation.shifts import (
    CircularShift,
    CropShift,
    PadShift,
    circular_shifts,
    crop_shifts,
    neighbourhood,
    pad_shifts,
)
from robustkit.translation.sliding_vote import (
    SlidingVote,
    VoteCertificate,
    certify_votes,
    count_votes,
)
from robustkit.translation.theory import (
    adversarial_robustness,
    change_probability,
    crop_for,
    jaccard,
    overlap,
)
from robustkit.translation.window_selection import select_windows
from robustkit.translation.windows import ShiftModel, Windows, WindowShift

__all__ = [
    "RICS",
    "Adversary",
    "CircularShift",
    "Consistency",
    "CropAverage",
    "CropShift",
    "EmbeddingChange",
    "FilterScore",
    "HashScore",
    "PadShift",
    "ReflectionPad",
    "Score",
    "Selection",
    "ShiftCertificate",
    "ShiftGrid",
    "ShiftModel",
    "Size",
    "SlidingVote",
    "SubpixelShift",
    "VoteCertificate",
    "WindowShift",
    "Windows",
    "Zoom",
    "adversarial_robustness",
    "adversary",
    "as_levels",
    "best_positions",
    "canonical",
    "certified_radius",
    "certify_votes",
    "change_probability",
    "circular_scores",
    "circular_shifts",
    "consistency",
    "count_votes",
    "crop_for",
    "crop_shifts",
    "crops_at",
    "embedding_change",
    "filter_score",
    "hash_score",
    "jaccard",
    "laplacian_score",
    "neighbourhood",
    "noise_radius",
    "overlap",
    "pad_shifts",
    "phase_canonical",
    "random_real_shifts",
    "random_shifts",
    "resolve_score",
    "roll",
    "safe_shifts",
    "score_maps",
    "seam_profiles",
    "select",
    "select_circular",
    "select_windows",
    "shift_grid",
    "shifted_labels",
    "subpixel_shifts",
    "two_crops",
    "with_blur_pool",
    "with_polyphase",
    "zooms",
]
