from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

import kseg
from kseg.inference import list_images, predict_files
from tests.helpers import toy_models


@pytest.fixture(scope="module")
def model():
    return toy_models.encoder_decoder()


def picture(height=36, width=44, channels=3, seed=0, dtype=np.uint8):
    array = np.random.default_rng(seed).integers(0, 256, (height, width, channels)).astype(dtype)
    return array[..., 0] if channels == 1 else array


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(picture(seed=1)).save(folder / "b.png")
    Image.fromarray(picture(40, 48, seed=2)).save(folder / "a.bmp")
    tifffile.imwrite(folder / "c.tif", picture(seed=3))
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_a_folder(model, folder, tmp_path):
    out = tmp_path / "deep" / "out"
    seen = []
    results = predict_files(model, folder, out, on_result=seen.append)
    assert results == seen
    assert [r.source.name for r in results] == ["a.bmp", "b.png", "c.tif"]
    assert sorted(p.name for p in out.iterdir()) == sorted(
        f"{stem}{kind}" for stem in "abc" for kind in (".png", "_overlay.png")
    )
    for result in results:
        image = kseg.data.read_image(result.source)
        expected = kseg.predict(model, image)
        with Image.open(result.classes) as written:
            assert written.mode == "P"
            np.testing.assert_array_equal(np.asarray(written), expected)
            colours = np.asarray(written.convert("RGB"))
        np.testing.assert_array_equal(colours, kseg.viz.palette(3)[expected])
        np.testing.assert_array_equal(kseg.data.read_mask(result.classes), expected)
        with Image.open(result.overlay) as overlay:
            assert overlay.mode == "RGB"
            assert overlay.size == image.shape[1::-1]
        assert result.error is None
        assert result.probabilities is None
        assert result.tiling is None
        assert result.size == image.shape[:2]
        assert result.pixels == tuple(np.bincount(expected.ravel(), minlength=3))


@pytest.mark.parametrize(("form", "read"), [(True, np.load), ("npy", np.load), ("tif", tifffile.imread)])
def test_probabilities_on_demand(model, folder, tmp_path, form, read):
    results = predict_files(
        model, [folder / "b.png"], tmp_path / "out", probabilities=form, overlay=False, tile=(36, 40)
    )
    (result,) = results
    assert result.overlay is None
    expected = kseg.predict(model, picture(seed=1), output="probabilities", tile=(36, 40))
    probabilities = read(result.probabilities)
    assert probabilities.dtype == np.float32
    np.testing.assert_array_equal(probabilities, expected)
    np.testing.assert_array_equal(np.asarray(Image.open(result.classes)), expected.argmax(-1))
    assert len(list((tmp_path / "out").iterdir())) == 2, "nothing half-written is left"


def test_unreadable_files_are_named_and_the_others_continue(model, folder, tmp_path):
    (folder / "bad.png").write_bytes((folder / "b.png").read_bytes()[:60])
    (folder / "empty.jpg").write_bytes(b"")
    tifffile.imwrite(folder / "deep.tif", picture(channels=5), photometric="minisblack", planarconfig="contig")
    results = {r.source.name: r for r in predict_files(model, folder, tmp_path / "out")}
    assert len(results) == 6
    assert "bad.png cannot be read" in results["bad.png"].error
    assert "empty.jpg is empty" in results["empty.jpg"].error
    assert "deep.tif has 5 channels, expected 3" in results["deep.tif"].error
    assert results["bad.png"].classes is None
    assert results["bad.png"].size is None
    assert [name for name, r in sorted(results.items()) if r.error is None] == ["a.bmp", "b.png", "c.tif"]
    assert not (tmp_path / "out" / "bad.png").exists()


def test_files_with_values_that_are_not_finite_are_named(model, folder, tmp_path):
    bad = picture(dtype=np.float32)
    bad[30, 2] = np.nan
    tifffile.imwrite(folder / "bad.tif", bad, photometric="rgb")
    results = {r.source.name: r for r in predict_files(model, folder, tmp_path / "out", probabilities=True)}
    assert "holds values that are not finite, such as nan at row 30, column 2" in results["bad.tif"].error
    assert str(folder / "bad.tif") in results["bad.tif"].error
    assert [name for name, r in sorted(results.items()) if r.error is None] == ["a.bmp", "b.png", "c.tif"]
    assert [path.name for path in (tmp_path / "out").iterdir() if "bad" in path.name] == []


def test_an_impossible_tile_is_an_error_of_each_file(model, folder, tmp_path):
    results = predict_files(model, folder, tmp_path / "out", tile=8, overlap=8)
    assert all("tile height 8 is too small" in r.error and str(r.source) in r.error for r in results)


def test_grey_files_fit_a_colour_model_and_the_other_way_round(folder, tmp_path, model):
    Image.fromarray(picture(channels=1)).save(folder / "grey.png")
    (result,) = predict_files(model, folder / "grey.png", tmp_path / "out")
    assert result.error is None
    grey = toy_models.encoder_decoder(channels=1)
    (result,) = predict_files(grey, folder / "b.png", tmp_path / "out")
    assert result.error is None


def test_sixteen_bits(tmp_path):
    model = toy_models.encoder_decoder(channels=1)
    image = picture(channels=1, dtype=np.uint16) * 7
    tifffile.imwrite(tmp_path / "x.tif", image)
    (result,) = predict_files(model, tmp_path / "x.tif", tmp_path / "out")
    np.testing.assert_array_equal(np.asarray(Image.open(result.classes)), kseg.predict(model, image))


def test_more_than_256_classes_are_written_with_16_bits(tmp_path):
    model = toy_models.pointwise(channels=1, num_classes=300)
    model.layers[-1].set_weights([np.zeros((1, 1, 1, 300)), np.arange(300.0)])
    Image.fromarray(picture(channels=1)).save(tmp_path / "x.png")
    (result,) = predict_files(model, tmp_path / "x.png", tmp_path / "out")
    written = kseg.data.read_mask(result.classes)
    assert (written == 299).all()


def test_sigmoid_models_write_two_classes(tmp_path):
    model = toy_models.pointwise(channels=1, num_classes=1)
    Image.fromarray(picture(channels=1)).save(tmp_path / "x.png")
    (result,) = predict_files(model, tmp_path / "x.png", tmp_path / "out", probabilities=True)
    probabilities = np.load(result.probabilities)
    assert probabilities.shape == (36, 44, 1)
    np.testing.assert_array_equal(np.asarray(Image.open(result.classes)), probabilities[..., 0] > 0.5)


def test_the_tiling_difference_is_measured_once(folder, tmp_path):
    model = toy_models.encoder_decoder(global_context=True)
    results = predict_files(model, folder, tmp_path / "out", tile=20, overlap=4)
    assert [r.tiling is None for r in results] == [False, True, True]
    assert results[0].tiling.largest > 0
    assert not results[0].tiling.exact


def test_large_overlays_are_thinned(model, folder, tmp_path, monkeypatch):
    import sys

    monkeypatch.setattr(sys.modules["kseg.inference.predict_files"], "OVERLAY_PIXELS", 500)
    (result,) = predict_files(model, folder / "b.png", tmp_path / "out")
    with Image.open(result.overlay) as overlay:
        assert overlay.size == (22, 18)


def test_colliding_names_are_refused(model, folder, tmp_path):
    Image.fromarray(picture()).save(folder / "b.jpg")
    with pytest.raises(ValueError, match=r"b\.jpg and .*b\.png would both be written to b\.png: rename one"):
        predict_files(model, folder, tmp_path / "out")
    Image.fromarray(picture()).save(folder / "a_overlay.png")
    with pytest.raises(ValueError, match=r"would both be written to a_overlay\.png"):
        predict_files(model, [folder / "a.bmp", folder / "a_overlay.png"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_inputs_are_never_overwritten(model, folder):
    before = (folder / "b.png").read_bytes()
    with pytest.raises(
        ValueError, match=r"the result of .*b\.png would overwrite an input, b\.png: choose another out_dir"
    ):
        predict_files(model, folder / "b.png", folder)
    assert (folder / "b.png").read_bytes() == before


def test_lists_of_images(folder, tmp_path):
    assert [p.name for p in list_images([folder / "c.tif", folder])] == ["c.tif", "a.bmp", "b.png", "c.tif"]
    with pytest.raises(FileNotFoundError, match=r"no such file or folder: .*nowhere"):
        list_images(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty holds no images \(\.png, \.jpg"):
        list_images(tmp_path / "empty")
    with pytest.raises(ValueError, match="paths must name at least one image file or folder"):
        list_images([])


def test_options_that_cannot_be(model, folder, tmp_path):
    with pytest.raises(ValueError, match='probabilities must be False, True, "npy" or "tif"; got \'png\''):
        predict_files(model, folder, tmp_path / "out", probabilities="png")
    with pytest.raises(ValueError, match=r"tile must be an integer .*; got '512'"):
        predict_files(model, folder, tmp_path / "out", tile="512")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="batch_size must be an integer"):
        predict_files(model, folder, tmp_path / "out", batch_size=0)
