"""These tests are of `bn.stats_of`: statistics of data that is read piece by piece."""

import io
import weakref

import numpy as np
import pytest
from bits import of_stats

import bn
from bn.streams import PIECE, slices_of


def images(dtype=np.float32, count=10):
    x = np.random.default_rng(0).standard_normal((count, 3, 4, 4)) * 40 + 100
    return x.astype(dtype)


def merged(x, *sizes, axis=1):
    """Merge the statistics of parts of x that end where the sizes say."""
    return bn.merge([bn.stats(part, axis) for part in np.split(x, np.cumsum(sizes))])


class Dataset:
    """What is read by slices, as a file is, and remembers how many samples were read each time."""

    def __init__(self, array, chunks=None):
        self.array, self.shape, self.chunks, self.read = array, array.shape, chunks, []

    def __getitem__(self, index):
        piece = self.array[index]
        self.read.append(len(piece))
        return np.array(piece)


# ---- iterables ----


def test_the_items_of_an_iterable_are_merged_in_their_order():
    x = images()
    expected = of_stats(merged(x, 3, 4))
    assert of_stats(bn.stats_of([x[:3], x[3:7], x[7:]])) == expected
    assert of_stats(bn.stats_of(part for part in np.split(x, [3, 7]))) == expected


def test_items_are_gone_before_the_next_one_is_made():
    alive = []

    def parts():
        for _ in range(5):
            assert not any(ref() is not None for ref in alive)
            part = images()
            alive.append(weakref.ref(part))
            yield part
            del part

    assert bn.stats_of(parts()).count.tolist() == [800] * 3


def test_items_may_have_their_channels_last_and_no_samples():
    x = images().transpose(0, 2, 3, 1)
    found = bn.stats_of([x[:0], x[:6], x[6:]], axis=-1)
    assert of_stats(found) == of_stats(merged(x, 6, axis=-1))
    assert not bn.stats_of([x[:0]], axis=-1).count.any()


def test_items_of_other_libraries_that_convert_to_arrays_are_taken():
    class Tensor:
        def __array__(self, dtype=None, copy=None):
            return images()

    assert of_stats(bn.stats_of([Tensor()])) == of_stats(bn.stats(images()))


# ---- one array ----


def test_an_array_is_read_in_pieces_of_the_given_length():
    data = Dataset(images())
    assert of_stats(bn.stats_of(data, chunk=4)) == of_stats(merged(data.array, 4, 4))
    assert data.read == [4, 4, 2]


@pytest.mark.parametrize(
    ("chunks", "lengths"),
    [(None, [8, 8, 4]), ((3, 1), [6, 6, 6, 2]), ((8, 1), [8, 8, 4]), ((20, 1), [8, 8, 4])],
    ids=["no chunks", "several chunks", "one chunk", "chunks that are too large"],
)
def test_pieces_are_at_most_64_mb_and_whole_chunks_if_one_fits(chunks, lengths):
    wide = np.broadcast_to(np.float32(1), (20, PIECE // 8))
    data = Dataset(wide, chunks)
    assert [len(wide[index]) for index in slices_of(data, 1, None)] == lengths


def test_a_sample_that_is_larger_than_a_piece_is_read_as_a_whole():
    wide = np.broadcast_to(np.float32(1), (2, 2 * PIECE))
    assert len(slices_of(wide, 1, None)) == 2


def test_an_array_with_its_channels_first_is_cut_along_the_next_axis():
    x = images().transpose(1, 0, 2, 3)
    expected = bn.merge([bn.stats(x[:, :6], 0), bn.stats(x[:, 6:], 0)])
    for axis in (0, -4):
        assert of_stats(bn.stats_of(x, axis, chunk=6)) == of_stats(expected)


def test_an_array_without_samples_has_statistics_of_nothing():
    assert bn.stats_of(images()[:0]).count.tolist() == [0, 0, 0]


def test_nan_stays_in_the_statistics_of_its_channel():
    x = images()
    x[7, 1, 0, 0] = np.nan
    assert np.isnan(bn.stats_of(x, chunk=3).m2).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("dtype", "converted"),
    [
        (np.uint8, np.float32),
        (np.int16, np.float32),
        (np.int32, np.float64),
        (np.int64, np.float64),
        (np.float16, np.float16),
        (">f4", np.float32),
        (">f8", np.float64),
        (">i2", np.float32),
    ],
)
def test_integers_and_swapped_bytes_are_converted_without_loss(dtype, converted):
    x = images(dtype)
    assert of_stats(bn.stats_of(x)) == of_stats(bn.stats(x.astype(converted)))
    assert of_stats(bn.stats_of([x])) == of_stats(bn.stats(x.astype(converted)))


# ---- files ----


def test_a_memory_mapped_file_is_read(tmp_path):
    np.save(tmp_path / "x.npy", images(np.uint8))
    data = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert of_stats(bn.stats_of(data, chunk=4)) == of_stats(
        merged(images(np.uint8).astype("f4"), 4, 4)
    )


@pytest.mark.parametrize("chunks", [None, (3, 1, 4, 4)])
def test_a_dataset_of_hdf5_is_read(tmp_path, chunks):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        data = file.create_dataset("x", data=images(">f4"), chunks=chunks)
        assert of_stats(bn.stats_of(data)) == of_stats(bn.stats(images()))
        assert of_stats(bn.stats_of(data, chunk=4)) == of_stats(merged(images(), 4, 4))


def test_an_array_of_zarr_is_read(tmp_path):
    zarr = pytest.importorskip("zarr")
    data = zarr.create_array(tmp_path / "x", shape=(10, 3, 4, 4), chunks=(3, 1, 4, 4), dtype="u1")
    data[...] = images(np.uint8)
    assert of_stats(bn.stats_of(data)) == of_stats(bn.stats(images(np.uint8).astype("f4")))
    assert of_stats(bn.stats_of(data, chunk=4)) == of_stats(
        merged(images(np.uint8).astype("f4"), 4, 4)
    )


# ---- a layer ----


def test_statistics_of_all_data_become_those_of_a_layer():
    x, layer = images(), bn.BatchNorm2d(3)
    bn.commit(bn.stats_of(x, chunk=4), layer.running_mean, layer.running_var, momentum=1.0)
    np.testing.assert_allclose(layer.running_mean, x.mean((0, 2, 3), np.float64), rtol=1e-6)
    np.testing.assert_allclose(layer.running_var, x.var((0, 2, 3), np.float64, ddof=1), rtol=1e-6)


# ---- what is seen ----


def test_without_a_terminal_there_are_at_most_ten_lines(capsys):
    x = images(count=40)
    bn.stats_of(x, chunk=1, progress=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"stats_of  {done}/40 pieces" for done in range(4, 41, 4)]


def test_an_iterable_without_a_length_has_a_line_for_each_doubling(capsys):
    bn.stats_of((images() for _ in range(9)), progress=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"stats_of  {done} pieces" for done in (1, 2, 4, 8)]


def test_in_a_terminal_there_is_a_bar(monkeypatch):
    pytest.importorskip("rich")
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    bn.stats_of(images(), chunk=4, progress=True)
    assert "stats_of" in terminal.getvalue() and "3/3" in terminal.getvalue()


def test_it_is_silent_if_not_asked(capsys):
    bn.stats_of(images(), chunk=4)
    assert capsys.readouterr() == ("", "")


# ---- errors ----


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (5, {}, "data must be an array or an iterable of arrays, got int"),
        ([], {}, "data must have at least one part, got none .was the generator used up"),
        (np.zeros(3), {}, r"data must have at least 2 axes, got shape \(3,\)"),
        (np.zeros((2, 3)), {"axis": 2}, "axis must be between -2 and 1, got 2"),
        (np.zeros((2, 3), complex), {}, "each part of data must be float16, .* got complex128"),
        (np.zeros((2, 3), bool), {}, "each part of data must be float16, .* got bool"),
        (np.ma.ones((2, 3)), {}, "each part of data must have no mask, got a MaskedArray"),
        (["a.npy"], {}, "each part of data must be an array, got str"),
        ([(np.zeros((2, 3)), np.zeros((2, 3)))], {}, "each part of data must be an array, got tup"),
        ([np.zeros(3)], {}, r"each part of data must have at least 2 axes, got shape \(3,\)"),
        ([np.zeros((2, 3)), np.zeros((2, 4))], {}, "must have 3 channels as the first, got 4"),
        (
            [np.zeros((2, 3))],
            {"chunk": 2},
            "chunk must be None where data has its own parts, got 2",
        ),
        (np.zeros((2, 3)), {"chunk": 0}, "chunk must be a positive integer, got 0"),
        (np.zeros((2, 3)), {"progress": "no"}, "progress must be True or False, got 'no'"),
    ],
)
def test_what_is_no_data_is_refused_in_words(data, options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        bn.stats_of(data, **options)
