"""What docs/strategies.md says of each strategy besides its own text: cost, published numbers, how they came about."""

from dataclasses import dataclass

BEST_TEST = "best test epoch"
BB = "BalanceBenchmark, selected on validation"
RERUN = "rerun by the authors of MIDAS, selected on validation, three seeds"
MATRIX = "[yes](strategy-matrix.md)"
REPLICATION = "a replication with five seeds, plain training 61.59"


@dataclass(frozen=True)
class Facts:
    """Facts about one strategy, by its kind."""

    cost: str
    """Cost of a step, in forward and backward passes of all encoders; plain training is 1."""
    published: tuple[str, ...] = ()
    """Accuracies on CREMA-D / Kinetics-Sounds / VGGSound in %, where known, with how they were selected."""
    differences: tuple[str, ...] = ()
    """Between paper and public code, and what is done here."""
    modalities: str = "any"
    changes: str = "-"
    """What it changes, with its defaults unless it says more."""
    measured: str = "no"
    """Where this project's own measurement is, or no."""


FACTS: dict[str, Facts] = {
    "none": Facts("1", measured="[yes](results.md)"),
    "weights": Facts(
        "1",
        (
            "fused loss with unimodal losses: - / 70.44, against 64.55 for the fused loss alone (ablation of "
            "the BSS paper)",
        ),
        (
            "MMPareto without conflict is `encoder_gradients: 1.5`, and BalanceBenchmark's MMPareto is always "
            "`encoder_gradients: 3.0`",
            "ARL's public code never uses its weights: it is `unimodal: 4.0`",
        ),
        measured=MATRIX,
        changes="loss; gradients",
    ),
    "longer": Facts(
        "1, and `times` as many steps",
        differences=("with more epochs the selection on val also has more checkpoints to choose from",),
        changes="number of epochs",
    ),
    "mixup": Facts(
        "1",
        differences=("mixes features, so that it suits any kind of input; one process only",),
        measured=MATRIX,
        changes="features and targets",
    ),
    "modality-dropout": Facts("1", measured=MATRIX, changes="features"),
    "ogm": Facts(
        "1",
        (
            f"66.94 / 66.06 / 48.29 ({BEST_TEST})",
            f"67.76 / 67.04 / 48.25 ({BB})",
            f"69.14 ({REPLICATION})",
        ),
        (
            "public code scales the gradients of convolutions only (`parameters: convolutions`)",
            "paper and code jump at balance, from 1 to 1 - tanh(alpha); `smooth: true` does not",
            "for more than two modalities a modality is compared with the mean of the others; public code divides by "
            "their sum or their least",
            "for fusions that are not additive public code does nothing; here the share is that of any fusion",
            "`direction: strong` slows the modalities that are less sure instead, as PDMP strengthens the best one",
        ),
        measured=MATRIX,
        changes="gradients",
    ),
    "mlb": Facts(
        "1",
        differences=(
            "for more than two modalities: against the mean of the others",
            "`direction: strong` strengthens the surer modalities instead, as PDMP does with the best one",
        ),
        measured=MATRIX,
        changes="gradients",
    ),
    "agm": Facts(
        "1; fusions that are not additive run the fusion head once per part of the modalities; with `zero: inputs` 3",
        (
            f"67.07 / 66.02 / 47.11 ({BEST_TEST})",
            f"71.59 / 66.62 / 49.06 ({BB}, with the sign reversed)",
            f"57.42 ({REPLICATION})",
        ),
        (
            "paper and public code zero inputs, with a pass of the encoders per part of the modalities; here features "
            "are zeroed, which costs none. `zero: inputs` takes two more passes, whatever the number of modalities: in "
            "eval mode, as in public code, all parts share their features",
        ),
        modalities="any; 2 to 5 for a fusion that is not additive, or `zero: inputs`",
        measured=MATRIX,
        changes="gradients",
    ),
    "amss": Facts(
        "1",
        (f"70.30 / 72.25 ({BEST_TEST})",),
        (
            "the paper calls AMSS+ unbiased, but its public weights are not inverse probabilities: `weighing: code` or "
            "`unbiased`",
            "the mask of the classifier is computed but not applied in the audio-visual script, and applied in the "
            "others (`classifier: true`); AMSS+ of three modalities divides there by a weight's number, not its "
            "probability",
            "public code masks convolutions and the weights of attention; here all linear and convolutional layers, "
            "with the batch normalisation behind them if asked (`batch_norm: true`)",
            "the default of its command draws all units alike (`chances: equal`)",
            "that of text and image does not divide by the entropy of the features (`relative: false`)",
            "its entropy of labels takes probabilities for logits; here it is the entropy",
            "the script of three modalities divides entropies by 40, which `temperature` does here, and adds 3 "
            "(`offset`); by the place of a loop it masks no encoder",
        ),
        measured=MATRIX,
        changes="gradients",
    ),
    "g-blending": Facts(
        "1, and an evaluation of train every `every` epochs; with `probe: train` 1 + 2 `probe_epochs` / `every`, and "
        "three evaluations",
        (
            "64.65 / 67.10 (table of the BSS paper)",
            f"71.59 / 68.82 / 51.41 ({BB})",
            f"61.10 ({REPLICATION})",
        ),
        (
            "the paper estimates from probe runs (`probe: train`); by default here from the heads of the network "
            "itself",
            "public code takes the absolute gain, which rewards a head that got worse; here such a head weighs 0",
        ),
        measured=MATRIX,
        changes="weights of the loss",
    ),
    "lfm": Facts(
        "1, and one step more per epoch for `schedule: learned`",
        (f"83.62 / 72.53 / 52.74 ({BEST_TEST})", f"70.02 / 66.37 / 47.45 ({BB})", f"64.02 / 64.88 ({RERUN})"),
        (
            "public code swaps the arguments of its divergence (`divergence: code`) and aligns by that alone; so does "
            "this: the paper's contrastive alignment is not here",
            "its curve is a polynomial fitted to an earlier run (`schedule: fitted`)",
            "its learned weight follows a mean over one parameter tensor, on a batch of train named val; here "
            "(`schedule: learned`) the derivative of the loss on a batch of val, over all parameters",
            "it needs a higher learning rate than plain training, because an encoder of two gets 0.2 to 0.9 times the "
            "gradient of one cross-entropy instead of the sum of two: on the built-in data it is 2.0 points behind "
            "with 0.002 and level with 0.02, and another point behind without the alignment (two seeds)",
        ),
        measured=MATRIX,
        changes="loss",
    ),
    "mbsd": Facts(
        "1",
        (f"74.86 / 68.82 / 49.48 ({BB})",),
        (
            "the paper pre-trains on products; BalanceBenchmark uses its self-distillation against imbalance",
            "BalanceBenchmark's divergence is missing a logarithm",
        ),
        changes="loss",
    ),
    "mses": Facts(
        "1 or less, and an evaluation of val per epoch",
        ("61.56 / 64.71 (table of the BSS paper)",),
        (
            "public reimplementations judge by the test loss, roll back the whole network, and scale gradients "
            "by 0; here "
            "val decides, and only the modality that stops is restored and frozen",
            "the authors published no code: `loss: published` weighs the fused and every unimodal loss 1, because the "
            "heads that it follows must learn",
        ),
        changes="frozen encoders and heads, at their best weights",
    ),
    "mslr": Facts(
        "1, and an evaluation of val per epoch if dynamic",
        ("65.46 / 65.91 (table of the BSS paper)",),
        (
            "public reimplementations scale gradients by the test accuracy; here learning rates follow val",
            "the paper sums the heads' logits and trains on that sum alone (`loss: published`); `loss: product` keeps "
            "the fusion head and the configured loss",
        ),
        changes="learning rates",
    ),
    "pmr": Facts(
        "1, and an evaluation of train per epoch for `prototypes: pass`",
        (f"66.59 / 66.56 ({BEST_TEST})", f"67.19 / 67.11 / 50.38 ({BB})"),
        (
            "public code takes the prototypes from a pass over the first tenth of the shuffled batches, in which a "
            "class without samples makes them NaN; here from the training features of an epoch, or from a pass over "
            "train or a share of it (`prototypes: pass`, `share: 0.1`), in which such a class keeps its own",
            "the paper's factor of a modality is how far it is behind, cut to [0, 1]; public code has 1 or 0 "
            "(`factor: full`)",
            "the entropy term of the paper is off, as in public code (`entropy`)",
            "for more than two modalities the entropy term slows the best one, as far as the last one is behind",
        ),
        measured=MATRIX,
        changes="loss",
    ),
    "smp": Facts(
        "1 or less: a frozen encoder has no backward pass",
        (f"80.78 on CREMA-D, against 67.47 without it (ablation of the authors, {BEST_TEST}, 300 epochs)",),
        (
            "public code sets gradients to zero, so that momentum and weight decay still move the weights, and "
            "decides per "
            "batch by unimodal teachers; here encoders are frozen, and heads decide once",
            "the ablation trains the fused loss alone (`loss: published`), which leaves no heads to decide: it needs "
            "an `order`, such as that of unimodal trainings",
        ),
        changes="frozen encoders",
    ),
    "dgl": Facts(
        "1",
        (f"77.48 to 78.12 / 74.78 to 76.28 ({BEST_TEST}; the same command twice is 1.2 points apart)",),
        ("with `through: heads` it is late fusion of independent networks",),
        measured=MATRIX,
        changes="loss of each part of the network",
    ),
    "mmpareto": Facts(
        "1.67: a second backward pass",
        (
            f"74.87 / 70.00 / 51.25 ({BEST_TEST})",
            f"79.97 / 74.55 / 49.35 ({BB}, where all encoder gradients are tripled instead)",
            f"65.51 ({REPLICATION})",
        ),
        ("public code compares lengths per tensor (`norm: tensor`), the paper per modality",),
        measured=MATRIX,
        changes="gradients",
    ),
    "opm": Facts(
        "1, and a pass of the fusion head per modality",
        (f"68.75 / 66.89 / 49.12 ({BB})", f"63.97 / 67.35 ({RERUN})"),
        (
            "as published, what stays of the weaker modality is scaled up too",
            "for more than two modalities: against the mean of the others; BalanceBenchmark changes a score "
            "that it reads "
            "again",
        ),
        measured=MATRIX,
        changes="features; loss",
    ),
    "smv": Facts(
        "1 to 3: up to four copies for two modalities, each of one encoder; and an evaluation of train per epoch",
        (
            f"78.72 / 69.00 / 50.31 ({BEST_TEST})",
            f"75.85 / 68.01 / 48.25 ({BB})",
            f"67.94 / 65.76 ({RERUN})",
        ),
        (
            "public code runs the hidden modality's encoder, whose batch normalisation counts it; here it is not run",
            "copies come at drawn places among the schedule's samples, whose order stays; public code shuffles all",
            "`keep_length: true` is the comparison at equal length",
        ),
        modalities="2 to 5",
        changes="what is shown; features; loss",
    ),
    "remix": Facts(
        "1 over the number of modalities after the warm-up, and an evaluation of train per epoch",
        (f"6.5 and 3.4 points above the authors' baseline ({BEST_TEST})",),
        (
            "public code trains all batches of one modality, then all of the other (`batches: blocks`), and "
            "assumes six "
            "classes",
            "scores are not observed after the warm-up: BSS-L online keeps those that it has",
        ),
        measured=MATRIX,
        changes="what is shown; features; loss",
    ),
    "midas": Facts(
        "1, and a pass of the fusion head per modality",
        ("74.99 +- 0.31 / 74.88 +- 0.49 (selected on validation, three seeds; plain 60.28 / 63.92)",),
        (
            "the paper lets the weight of a row be negative (`hardness: paper`)",
            "with more than two modalities: the sample, one of another class, and any others, in all rotations",
            "one process only: samples are put together within it",
        ),
        changes="loss",
    ),
    "mcr": Facts(
        "1, and `permutations` passes of the fusion head for every pair of modalities",
        (f"70.91 / 71.75 ({RERUN})",),
        (
            "public code has no term for the conditional entropy of the paper; neither has this",
            "for some data public code takes the contrastive loss of 30 divisions of the labels; here of all labels",
            "the contrastive loss compares the features of all modalities, so that they need one width, or "
            "`contrast: 0`",
            "one process only: permutations lie within it",
        ),
        changes="loss",
    ),
    "mla": Facts(
        "1, and an optimiser step per modality",
        (f"79.43 / 70.04 / 51.65 ({BEST_TEST})", f"72.30 / 69.05 / 49.99 ({BB})"),
        ("public code never applies its projection: what was published is alternating training of one shared head",),
        measured=MATRIX,
        changes="heads; updates of a batch; prediction; gradients for `projection: paper`",
    ),
    "reconboost": Facts(
        "1 to 1.5, and with `teachers: pretrained` the training of the teachers",
        ("74.84 / 70.85 / 50.97 (table of the BSS paper)", f"74.01 / 68.38 / 47.27 ({BB})"),
        (
            "the reconcilement term of public code has no gradient (`agreement: 0`)",
            "the authors learn a factor of the summed logits, which the heads can take up here",
            "the authors share a head of two layers between the modalities (`network.heads: {shared: true, hidden: "
            "256}`); by default each has its own here, of one layer",
            "the authors divide the learning rate by 10 every 30 stages; here it follows `train.decay`",
        ),
        changes="loss; updates of a batch; momentum",
    ),
    "aug": Facts(
        "1, and small heads",
        (f"85.15 / 72.63 / 53.01 ({BEST_TEST})",),
        (
            "public code creates its optimiser before the new branches, which so never train (`train_new: false`)",
            "public code weighs audio 0.4 and video 0.6 in the prediction, by default of its command; here the heads "
            "are summed",
            "public code lets a head grow after the first epoch, too; here after every `every` epochs, as in the paper",
        ),
        changes="heads; loss; updates of a batch",
    ),
    "umt": Facts("1.33, and the training of the teachers", (f"67.47 / 68.60 / 51.58 ({BB})",), changes="loss"),
    "g2d": Facts(
        "1.33, and the training of the teachers",
        (f"85.89 / - / 53.82 ({BEST_TEST})",),
        (
            "teachers of public code are picked on the test set",
            "public code decides in each batch which encoder is the weakest, and sets the gradients of the others' "
            "convolutions to zero (`decide: batch`, `parameters: convolutions`)",
        ),
        changes="loss; frozen encoders; gradients for `decide: batch`",
    ),
    "cml": Facts(
        "1, and small heads",
        (f"69.18 / 67.56 / 50.50 ({BB})",),
        (
            "BalanceBenchmark takes the sum over a batch, in which falls cancel rises (`over: batch`)",
            "the paper sums over the pairs of a subset and one without one of its modalities; here it is their mean, "
            "so `strength` has to be twice the paper's for two modalities, and nine times for three",
            "public code draws an order of removal and compares its subsets alone (`pairs: drawn`)",
        ),
        changes="loss",
    ),
    "etmc": Facts(
        "1",
        ("65.86 / 65.67 / - (table of the BSS paper)",),
        ("copies of the public code count the annealing in epochs or in steps; here in epochs",),
        changes="loss; prediction",
    ),
    "domfn": Facts(
        "1",
        ("67.34 / 66.25 / - (table of the BSS paper)",),
        (
            "public code decides for a whole batch and runs with batches of one sample; here each sample has its mask",
            "public code feeds a sigmoid into a softmax cross-entropy, and its evaluation compares predictions with "
            "themselves",
        ),
        changes="loss; prediction",
    ),
    "inforeg": Facts(
        "1, and a copy of the encoders",
        ("71.9 / - / - (quoted)", f"67.72 ({REPLICATION})"),
        (
            "the threshold is 0.04 in the paper and in the first version of the public code, later 0.05; there the "
            "trace of audio decides for all (`gate: audio`)",
            "the pull is 0.95 for audio and 0.1 for video in public code (`strengths`)",
            "public code compares the sums of confidence over a batch, whose tanh is nearly 1 (`gap: sum`), and holds "
            "in the first epoch, too (`first_epoch: true`)",
            "public code sends the unimodal losses through halves of the fusion head, as `loss: published` does; an "
            "earlier version through heads of their own, as `loss: product` does",
            "the trace of public code counts the pull, and only weights of convolutions and linear layers",
        ),
        changes="gradients",
    ),
    "repair": Facts(
        "1, and an evaluation of train per epoch for `measuring: full`",
        differences=("not published elsewhere: the posterior is that of `bss.balance.audit`",),
        modalities="2 or more",
        measured="[yes](audit.md#repair-while-training)",
        changes="what is shown; features; loss",
    ),
    "relearning": Facts(
        "1, and four passes each time",
        (f"71.02 / 65.92 / 48.12 ({BB})",),
        ("public code keeps the optimiser's momentum and the statistics of batch normalisation (`momentum: kept`)",),
        changes="weights of the encoders; momentum",
    ),
}
