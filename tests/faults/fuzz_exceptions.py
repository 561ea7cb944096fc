"""What is not fed, or not all of it, each with the reason."""

_CLAIMS = "takes claims and verdicts that robustkit.claim_files.load has checked"
_PASS = "the pass of a network: whoever calls it checks once, and not at each pass"
_HALF = "half of an operation: mix and the modules check once for all operations of a batch"

# Targets that are not fed at all.
NOT_FED = {
    **dict.fromkeys(
        ("claims.ScoreRow", "claims.verdict", "claims.overall", "claims.table"), _CLAIMS
    ),
    **{
        f"models.{name}.forward": _PASS
        for name in ("MLP", "VGG19", "CifarResNet", "LeNet", "Normalized", "SmallCNN", "WideLeNet")
    },
    **{
        f"augment.{name}.{half}": _HALF
        for name in ("AugMixOperation", "Color", "Diffeomorphism", "Spectral")
        for half in ("apply", "sample")
    },
    "augment.Diffeomorphism.strengths": _HALF,
}

# Targets whose call with good values is refused all the same.
REFUSED = {"models.load": "the weights are not on every machine"}

_RECORD = "a record is what Record makes and read returns, and both check it"

_CARD = "reports takes it for report, which is fed it"

# Arguments that keep their good value.
NOT_SPOILED = {
    **{f"records.{name}.record": _RECORD for name in ("value", "frame", "write")},
    **{f"records.side_by_side.{name}": _RECORD for name in ("first", "second")},
    **{f"claims.{name}.record": _RECORD for name in ("verdicts", "compare")},
    **dict.fromkeys(
        ("translation.safe_shifts.selector", "translation.certified_radius.selector"),
        "a RICS, which checks its model; another module is of another type",
    ),
    **dict.fromkeys(
        ("training.obtain.once", "training.train_once.once"),
        "what it returns is loaded as weights; torch says which do not fit",
    ),
    **{
        f"report_card.reports.{name}": _CARD
        for name in (
            *("images", "labels", "data", "classes", "size", "axes", "severities", "preset"),
            *("radius", "crop", "examples", "level", "seed", "device"),
        )
    },
    "report_card.reports.announce": "what it does is its own",
    "report_card.reports.samples": "it excludes a budget; report is fed it",
    "report_card.report.budget": "it excludes samples; reports is fed it",
    "training.train_once.settings": "without epochs it lacks a required argument",
    "training.obtain.settings": "without epochs it lacks a required argument",
    **dict.fromkeys(
        (
            *("training.hold_me_tight.changes", "training.prime.changes"),
            *("corruptions.corrupt.options", "plots.image_grid.layout"),
        ),
        "keyword arguments of another function, which is fed itself or is not of robustkit",
    ),
    "training.train.on_epoch": "what it returns is not looked at",
    "training.train.adversarial": "an Adversarial, which checks its numbers",
    "records.write.path": "the error of the system says which folder cannot be written",
}

# Objects that keep their good value, by type: robustkit, torch or matplotlib made and checked them.
OBJECTS = {
    *("AttackResult", "Axes", "Block", "CifarC", "CorruptionTable", "CropShift", "Generator"),
    *("Comparison", "Examples", "Interval", "Mixture", "PairedTest", "Record", "Report"),
    *("Processes", "ResNet18_Weights", "Selection", "Whole"),
}
