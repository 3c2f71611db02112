import pytest
import torch

from bss.training.distributed.batch_norm import share_batch_norm


@pytest.fixture
def group(tmp_path):
    """A process group of this process alone."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_inputs_of_16_bits_are_normalised_with_statistics_of_32(group):
    random = torch.Generator().manual_seed(0)
    inputs = (torch.randn(64, 3, 4, 4, generator=random) * 0.5 + 100).bfloat16()
    shared, plain = (torch.nn.Sequential(torch.nn.BatchNorm2d(3)) for _ in range(2))
    share_batch_norm(shared)
    outputs, expected = shared(inputs), plain(inputs.float())
    assert outputs.dtype == torch.bfloat16
    torch.testing.assert_close(outputs.float(), expected, atol=0.02, rtol=0.01)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(shared.state_dict()[name], value, rtol=1e-5, atol=1e-5)
