import pytest

from bss.balance.score import BalanceScore
from bss.config import BUILTIN as PARAMS
from bss.config import config_from_tree, config_to_tree, flatten, load_config
from bss.config.load import read_yaml
from bss.config.presets import PRESETS
from bss.errors import BssError


def test_the_committed_parameters_load_and_survive_a_round_trip():
    config = load_config(PARAMS)
    assert config_from_tree(config_to_tree(config), "again") == config


def test_overrides_are_yaml_and_reach_nested_keys():
    config = load_config(
        PARAMS,
        [
            "train.epochs=5",
            "train.optimiser.learning_rate=1e-3",
            "schedule.schedulers.bss-h.pacing.shape=linear",
            "measure.score.criteria=[training_loss]",
            "seeds=[7]",
        ],
    )
    assert (config.train.epochs, config.train.optimiser.learning_rate, config.seeds) == (5, 0.001, (7,))
    assert config.schedule.schedulers["bss-h"].pacing.shape == "linear"
    assert config.measure.score == BalanceScore(("training_loss",))


def test_presets_are_written_out_in_full_and_can_be_overridden():
    config = load_config(
        PARAMS,
        [
            "schedule.schedulers={a: {preset: official-heuristic, pacing: {start: 0.2}}}",
            "combinations=null",
            "compare.baseline=a",
            "compare.control=null",
        ],
    )
    entry = config_to_tree(config.schedule.schedulers["a"])
    expected = PRESETS["official-heuristic"] | {"pacing": entry["pacing"]}
    assert entry == expected
    assert entry["pacing"] == {"shape": "root", "start": 0.2, "grow_epochs": 40, "first_epoch": 1, "steps": 4}


def test_the_official_presets_are_what_the_scripts_do():
    heuristic = PRESETS["official-heuristic"]
    assert heuristic["pacing"] == {"shape": "root", "start": 0.1, "grow_epochs": 40, "first_epoch": 1}
    assert (heuristic["scores"], heuristic["stratified"], heuristic["trim"]) == ("initial", False, 0.0)
    learned = PRESETS["official-learned"]
    assert (learned["probability"], learned["beta"], learned["every"]) == ("shifted", 1.0, 1)
    assert (learned["scores"], learned["measuring"], learned["mode"]) == ("initial", "full", "train")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epoch=5", "params.yaml: train.epoch: unknown key; did you mean `epochs`?"),
        ("trian.epochs=5", "params.yaml: trian: unknown key; did you mean `train`?"),
        ("prepare.modalities.audio.rate=1", "prepare.modalities.audio.rate: unknown key; known keys of"),
        ("schedule.schedulers.bss-h.pacing.begin=0.1", "schedule.schedulers.bss-h.pacing.begin: unknown key"),
        ("train.epochs=0", "train: `epochs` must be at least 1, but got: 0"),
        ("train.epochs=2.5", "train.epochs: should be a valid integer, but got: 2.5"),
        ("train.epochs=many", "train.epochs: should be a valid integer"),
        ("train.batch_size=true", "train.batch_size: should be a valid integer, but got: True"),
        ("train.optimiser.learning_rate=.nan", "only plain numbers"),
        (
            "train.optimiser.kind=lion",
            "train.optimiser: `kind` must be one of 'sgd', 'adam', 'adamw', but got: 'lion'",
        ),
        (
            "prepare.modalities.image={height: 8}",
            "prepare.modalities.image: `kind` must be one of 'audio', 'image', 'frames', 'clip', 'flow', 'text', "
            "'features', but got: no `kind`",
        ),
        ("train.decay=null", "train.decay: should be a table of keys, but got: None"),
        ("train.decay=cosine", "train.decay: should be a table of keys, but got: 'cosine'"),
        ("train.optimiser=null", "train.optimiser"),
        ("train.clip=0", "train: `clip` must be null or greater than 0, but got: 0"),
        ("train.early_stopping={patience: 0}", "train.early_stopping: `patience` must be at least 1, but got: 0"),
        ("train.early_stopping={}", "train.early_stopping.patience: missing, and there is no default"),
        ("train.ema=1", "train: `ema` must be null or in (0, 1), but got: 1"),
        ("train.label_smoothing=1", "train: `label_smoothing` must be in [0, 1), but got: 1"),
        ("train.class_weights=even", "`class_weights` must be null, balanced or a table of classes"),
        ("train.decay={kind: linear}", "train.decay: `kind` must be one of 'step', 'cosine', but got: 'linear'"),
        (
            "train.decay={kind: cosine, at: [2]}",
            "train.decay.at: unknown key; known keys of `train.decay`: kind, warmup",
        ),
        ("train.decay={kind: cosine, final: 2}", "train.decay: `final` must be in [0, 1], but got: 2"),
        ("train.decay={kind: cosine, warmup_epochs: 99}", "`decay.warmup_epochs` must be less than epochs (2"),
        ("train=5", "train: should be a table of keys, but got: 5"),
        ("protocol=open", "protocol: should be 'honest' or 'published', but got: 'open'"),
        ("seeds=[1, 1]", "`seeds` must be one or more different numbers"),
        ("compare.control=contrl", "`compare.control` must be one of the schedulers"),
        ("schedule.schedulers.x={preset: offical}", "schedule.schedulers.x.preset must be one of"),
        ("schedule.schedulers.Bad Name={kind: uniform}", "lower-case letters"),
        (
            "network.encoders.audio.spectrogram=null",
            "`network.encoders.audio.spectrogram` must be given for audio",
        ),
        ("prepare.modalities.image={kind: frames, count: 0}", "`count` must be at least 1, but got: 0"),
        ("prepare.modalities.image={kind: frames, rate: 0}", "`rate` must be null or above 0"),
        ("prepare.modalities.image={kind: clip, frames: 0}", "`frames` must be at least 1, but got: 0"),
        ("prepare.modalities.image={kind: clip, height: 0}", "`height` must be at least 1, but got: 0"),
        ("prepare.modalities.image={kind: clip, long: end}", "image.long: should be 'start' or 'centre'"),
        ("prepare.modalities.image={kind: flow, width: -1}", "`width` must be at least 1, but got: -1"),
        ("prepare.modalities.image={kind: text, tokenizer: ' '}", "`tokenizer` must be null, a folder or a name on"),
        (
            "prepare.modalities.image={kind: text, revision: v1}",
            "`revision` must be null without a `tokenizer`",
        ),
        ("prepare.modalities.image={kind: text, vocabulary: 299}", "`vocabulary` must be 300 to 1000000, but got: 299"),
        ("prepare.modalities.image={kind: text, tokenizer: a, tokens: 0}", "`tokens` must be 1 to 100000"),
        ("prepare.modalities.audio.sample_rate=10", "`sample_rate` must be 1000 to 768000 Hz, but got: 10"),
        ("prepare.modalities.audio_start={kind: features}", "`modalities` must be a name of letters"),
        (
            "network.encoders.image={kind: bert}",
            "`network.encoders.image.kind` must be one that takes kind image: cnn, mlp, resnet, vit, clip-image, "
            "python, huggingface, but",
        ),
        (
            "network.encoders.image={kind: cnn, spectrogram: {}}",
            "`network.encoders.image.spectrogram` must be left out for kind image",
        ),
        ("network.encoders.image={kind: resnet, depth: 34}", "network.encoders.image.depth: should be 18 or 50"),
        ("network.encoders.image={kind: resnet, width: 0}", "network.encoders.image: `width` must be at least 1"),
        ("network.encoders.image={kind: vit, heads: 5}", "`hidden` must be a multiple of `heads` (5), but got: 768"),
        ("network.encoders.image={kind: vit, dropout: 1.0}", "`dropout` must be in [0, 1)"),
        ("network.encoders.image={kind: cnn, dropout: 1.0}", "network.encoders.image: `dropout` must be in [0, 1)"),
        ("network.encoders.image={kind: mlp, dropout: -0.1}", "network.encoders.image: `dropout` must be in [0, 1)"),
        (
            "network.encoders.image={kind: vit, layer: 3}",
            "network.encoders.image.layer: unknown key; did you mean `layers`?",
        ),
        ("network.encoders.image={kind: resnet, normalisation: z}", "should be 'imagenet', 'clip', 'half' or 'none'"),
        (
            "network.encoders.image.crop={height: 9, width: 8, train: random}",
            "`network.encoders.image.crop.height` must be at most the stored 8 if random, but got: 9",
        ),
        (
            "network.encoders.audio.crop={height: 8, width: 8}",
            "`network.encoders.audio.crop` must be null for kind audio",
        ),
        ("network.encoders.image.crop={height: 8, width: 8, flips: true}", "crop.flips: unknown key; did you mean"),
        ("network.encoders.image.crop={height: 8}", "network.encoders.image.crop.width: missing"),
        ("network.fusion={kind: add}", "network.fusion: `kind` must be one of 'concatenation', 'sum', 'weighted-sum'"),
        ("network.fusion=concatenation", "network.fusion: should be a table of keys, but got: 'concatenation'"),
        (
            "network.fusion={kind: film, conditioner: sound}",
            "`fusion.conditioner` must be null or one of the modalities",
        ),
        ("network.fusion={kind: ml-lstm, layers: 0}", "network.fusion: `layers` must be at least 1"),
        ("network.fusion={kind: cross-attention, heads: 0}", "network.fusion: `heads` must be at least 1"),
        ("network.fusion={kind: channel-exchange, sparsity: -1.0}", "network.fusion: `sparsity` must be at least 0"),
        ("prepare.modalities.text={kind: features}", "`network.encoders` must be the modalities of"),
        ("prepare.modalities={audio: {kind: audio}}", "`modalities` must be two or more"),
        ("measure.batch_size=0", "measure: `batch_size` must be null or at least 1, but got: 0"),
        ("measure.order=random", "measure.order: should be 'shuffled' or 'dataset', but got: 'random'"),
        ("measure.initial_mode=both", "measure.initial_mode: should be 'train' or 'eval', but got: 'both'"),
        ("evaluation.map_over=some", "evaluation.map_over: should be 'present' or 'all', but got: 'some'"),
        ("evaluation.f1_over=all", "evaluation.f1_over: should be 'present' or 'present-or-predicted', but got: 'all'"),
        (
            "evaluation.map=all",
            "evaluation.map: unknown key; known keys of `evaluation`: map_over, f1_over, imbalance_every",
        ),
        ("network.head_initialisation=zero", "network.head_initialisation: should be 'torch' or 'xavier', but got"),
        ("train.drop_last=1", "train.drop_last: should be a valid boolean, but got: 1"),
        (
            "network.encoders.image.crop={height: 8, width: 8, per_frame: true}",
            "`network.encoders.image.crop.per_frame` must be false for kind image",
        ),
        ("network.encoders.image={kind: i3d, first_maps: 0}", "`first_maps` must be null or at least 1, but got: 0"),
        (
            "network.encoders.image={kind: i3d, batch_norm_momentum: 0.0}",
            "network.encoders.image: `batch_norm_momentum` must be in (0, 1], but got: 0.0",
        ),
        ("measure.score.criteria=[gradient_magnitude]", "training pass does not compute"),
        ("measure.score.criteria=[]", "`criteria` must be one or more of"),
        ("train.epochs.x=1", "train.epochs is a value, not a section"),
        ("train.epochs", "expected key=value"),
        ("train.epochs=[1", "not valid YAML"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(override, message):
    with pytest.raises(BssError) as caught:
        load_config(PARAMS, [override])
    assert message in str(caught.value)


def test_all_mistakes_are_reported_at_once():
    with pytest.raises(BssError) as caught:
        load_config(PARAMS, ["train.epoch=5", "protocol=open", "prepare.root=3"])
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected sections"),
        (b"- a\n", "expected sections"),
        (b"a: [1\n", "not valid YAML"),
        (b"a: 1\na: 2\n", "duplicate key"),
        (b"a: \xff\n", "not a text file in UTF-8"),
    ],
)
def test_a_broken_file(content, message, tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(BssError, match=message):
        read_yaml(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(BssError, match=r"cannot be read .* --params"):
        load_config(tmp_path / "params.yaml")


def test_flatten():
    assert flatten({"a": {"b": 1, "c": [1, 2]}, "d": None}) == {"a.b": 1, "a.c": [1, 2], "d": None}
