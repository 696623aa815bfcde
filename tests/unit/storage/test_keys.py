import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.storage import object_key, valid_key

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("wan2.6-t2v", "wan2.6-t2v"),
        ("openrouter/foo:free", "openrouter-foo-free"),
        ("../../etc", "etc"),
        ("a..b", "a.b"),
        ("模型", "unknown"),
        ("", "unknown"),
    ],
)
def test_object_names_say_model_time_and_hash(model: str, name: str) -> None:
    key = object_key("videos", model, 1_767_607_810.9, "0a1b2c3d4e5f", "MP4")
    assert key == f"videos/2026-01/{name}_20260105_101010_0a1b2c3d.mp4"


@given(st.text(max_size=200), st.text(max_size=20))
def test_every_object_name_is_a_valid_key(model: str, extension: str) -> None:
    assert valid_key(object_key("images", model, 1_767_607_810, "0a1b2c3d", extension))
