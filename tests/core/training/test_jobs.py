import re
import subprocess
import sys

import pytest

from omnisae.config import AutoencoderConfig, RunConfig, TrainConfig
from omnisae.errors import ConfigError
from omnisae.hooks.point import HookPoint
from omnisae.training.jobs import LONGEST_NAME, jobs


def _hook(name):
    return HookPoint(name=name, at=(name,), pattern="example d", width=8)


def _config(sweep=None, seeds=(0,), **autoencoder):
    parts = {"latents": 32, "activation": {"type": "core.topk", "k": 4}} | autoencoder
    train = TrainConfig(tokens=100, seeds=seeds, sweep=sweep or {})
    autoencoder_config = AutoencoderConfig.model_validate(parts)
    return RunConfig.model_construct(name="x", autoencoder=autoencoder_config, train=train, score=None)


def _names(*args, hooks=("blocks.3",), **fields):
    return [job.name for job in jobs(_config(*args, **fields), [_hook(name) for name in hooks])]


def test_one_hook_and_one_seed_make_one_job():
    (job,) = jobs(_config(), [_hook("blocks.3")])
    assert (job.name, job.hook, job.seed, job.config.latents) == ("blocks.3-s0", "blocks.3", 0, 32)


def test_all_combinations_in_order_the_first_being_primary():
    made = jobs(_config({"activation.k": [8, 16], "latents": [64, 128]}, seeds=(3, 4)), [_hook("a"), _hook("b")])
    assert len(made) == 2 * 4 * 2
    assert [job.name for job in made[:4]] == [
        "a-k8-latents64-s3",
        "a-k8-latents64-s4",
        "a-k8-latents128-s3",
        "a-k8-latents128-s4",
    ]
    assert [job.hook for job in made] == ["a"] * 8 + ["b"] * 8
    assert made[4].config.activation.k == 16
    assert made[2].config.latents == 128


def test_names_stay_when_values_and_seeds_are_added():
    few = _names({"activation.k": [8]}, seeds=(0,))
    many = _names({"activation.k": [4, 8]}, seeds=(1, 0))
    assert set(few) <= set(many)


def test_fields_that_share_a_last_word_are_written_out():
    assert _names({"activation.k": [8], "auxk.k": [16]}) == ["blocks.3-activation.k8-auxk.k16-s0"]


@pytest.mark.parametrize("hook", ["a/b\\c:d e", "../../etc", ".hidden", "über", "x" * 300, "[0]"])
def test_names_are_safe_for_file_systems(hook):
    (name,) = _names(hooks=[hook])
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", name)
    assert len(name) <= LONGEST_NAME


def test_names_that_fall_together_are_told_apart():
    names = _names(hooks=["a b", "a_b", "A_b", "x" * 100 + "1", "x" * 100 + "2"])
    assert len({name.lower() for name in names}) == 5
    assert names == _names(hooks=["a b", "a_b", "A_b", "x" * 100 + "1", "x" * 100 + "2"])


def test_whole_parts_can_be_swept():
    rules = [{"type": "core.topk", "k": 8}, {"type": "core.batchtopk", "k": 8}]
    made = jobs(_config({"activation": rules}), [_hook("a")])
    assert [job.config.activation.type for job in made] == ["core.topk", "core.batchtopk"]
    assert len({job.name for job in made}) == 2


def test_a_sweep_reaches_into_parts_that_were_left_out_and_into_lists():
    (job,) = jobs(_config({"auxk.k": [5]}), [_hook("a")])
    assert job.config.auxk.k == 5
    penalties = [{"type": "core.l1", "weight": 0.1}]
    made = jobs(_config({"penalties.0.weight": [0.2, 0.4]}, penalties=penalties), [_hook("a")])
    assert [job.config.penalties[0].weight for job in made] == [0.2, 0.4]


def test_a_part_that_is_not_swept_keeps_all_of_its_fields():
    nesting = {"type": "core.matryoshka", "prefixes": [8, 32]}
    made = jobs(_config({"activation.k": [2, 3]}, nesting=nesting), [_hook("a")])
    assert [job.config.nesting.prefixes for job in made] == [(8, 32), (8, 32)]


@pytest.mark.parametrize(
    ("sweep", "text"),
    [
        ({"activation.kk": [1]}, r"'activation.kk', but autoencoder.activation has no field 'kk'\n.*did you mean 'k'"),
        ({"activtion.k": [1]}, r"'activtion.k', but autoencoder has no field 'activtion'\n.*did you mean 'activation'"),
        ({"latents.k": [1]}, r"autoencoder.latents is 32 and has no parts"),
        ({"penalties.0.weight": [1]}, r"autoencoder.penalties has 0 entries and no '0'"),
        ({"activation.k": ["many"]}, r"activation.k='many' makes no valid autoencoder: autoencoder.activation"),
        (
            {"latents": [0]},
            r"latents=0 makes no valid autoencoder: autoencoder.latents: Input should be greater than 0",
        ),
        ({"auxk.kk": [1]}, r"auxk.kk=1 makes no valid autoencoder: autoencoder.auxk.kk"),
        (
            {"activation.type": ["core.topkk"]},
            r"(?s)activation.type='core.topkk' makes no valid autoencoder.*core.topk",
        ),
        ({"activation.k": []}, r"train.sweep gives 'activation.k' no value"),
        ({"activation.k": [4, 8, 4]}, r"train.sweep.activation.k holds 4 twice"),
    ],
)
def test_a_wrong_sweep_is_refused_by_the_field(sweep, text):
    with pytest.raises(ConfigError, match=text):
        _names(sweep)


def test_a_seed_given_twice_is_refused():
    with pytest.raises(ConfigError, match="train.seeds holds 1 twice"):
        _names(seeds=(1, 0, 1))


def test_finding_the_jobs_imports_no_torch():
    code = "import omnisae.training.jobs, omnisae.training.launch, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
