"""`--data` reads well-formed folders, and says what is wrong with the others."""

import gzip
import os
import struct
import tracemalloc

import numpy as np
import pytest
from cli_files import CIFAR_CLASSES, idx, mnist_arrays, write_cifar, write_mnist

from bn.cli.data import Light, Pixels, load_digits, load_folder


@pytest.fixture
def cifar(tmp_path):
    return write_cifar(tmp_path)


@pytest.fixture
def mnist(tmp_path):
    return write_mnist(tmp_path)


def refuses(folder, message):
    with pytest.raises(ValueError) as error:
        load_folder(folder)
    assert str(error.value) == message


# scikit-learn's digits


def test_all_digits_are_there_and_no_test_image_is_trained_on():
    pytest.importorskip("sklearn")
    data = load_digits()
    assert data.x_train.shape == (1347, 1, 8, 8) and data.x_test.shape == (450, 1, 8, 8)
    assert data.x_train.dtype == np.uint8 and data.x_train.max() == data.peak == 16
    assert data.classes == tuple("0123456789")
    from sklearn import datasets

    images = np.concatenate([data.x_train, data.x_test]).reshape(-1, 64)
    everything = datasets.load_digits().data.astype(np.uint8)
    np.testing.assert_array_equal(np.sort(images, axis=0), np.sort(everything, axis=0))


def test_a_quarter_of_each_digit_is_for_testing():
    pytest.importorskip("sklearn")
    data = load_digits()
    test, train = np.bincount(data.y_test), np.bincount(data.y_train)
    np.testing.assert_allclose(test / (test + train), 0.25, atol=0.01)


# CIFAR-10's binary version


def test_cifar_records_are_a_label_and_three_planes_of_1024_pixels(tmp_path):
    write_cifar(tmp_path)
    record = np.arange(3073) % 251
    record[0] = 7
    (tmp_path / "data_batch_1.bin").write_bytes(record.astype(np.uint8).tobytes())
    data = load_folder(tmp_path)
    assert data.y_train[0] == 7
    np.testing.assert_array_equal(data.x_train[0], record[1:].reshape(3, 32, 32))


def test_cifar_files_are_joined_in_order_whatever_their_length(cifar):
    data = load_folder(cifar)
    assert data.x_train.shape == (20, 3, 32, 32) and data.x_test.shape == (4, 3, 32, 32)
    assert data.classes == tuple(CIFAR_CLASSES)
    assert data.shape == (3, 32, 32) and data.peak == 255
    labels = [(cifar / f"data_batch_{i}.bin").read_bytes()[::3073] for i in range(1, 6)]
    np.testing.assert_array_equal(data.y_train, np.frombuffer(b"".join(labels), np.uint8))


def test_a_cifar_file_that_is_missing_is_named(cifar):
    (cifar / "data_batch_3.bin").unlink()
    (cifar / "batches.meta.txt").unlink()
    refuses(cifar, f"{cifar} must also hold batches.meta.txt, data_batch_3.bin: not found there")


@pytest.mark.parametrize("size", [0, 3072, 3073 * 2 + 5])
def test_a_cifar_file_must_hold_whole_records(cifar, size):
    path = cifar / "data_batch_2.bin"
    path.write_bytes(bytes(size))
    refuses(cifar, f"{path} must hold whole records of 3073 bytes, got {size} bytes")


def test_a_cifar_label_must_be_a_class(cifar):
    path = cifar / "test_batch.bin"
    path.write_bytes(bytes(3073) + b"\x0a" + bytes(3072))
    refuses(cifar, f"{path} must hold labels from 0 to 9, got 10 for image 1")


def test_cifar_must_name_ten_classes(cifar):
    path = cifar / "batches.meta.txt"
    path.write_text("cat\ndog\n")
    refuses(cifar, f"{path} must name 10 classes, one in each line, got 2")


def test_cifar_must_hold_two_test_images(cifar):
    path = cifar / "test_batch.bin"
    path.write_bytes(bytes(3073))
    refuses(cifar, f"{path} must hold at least 2 images, got 1")


# MNIST's IDX files


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
def test_mnist_images_and_labels_are_those_written(tmp_path, packed):
    arrays = mnist_arrays(size=(5, 7))
    data = load_folder(write_mnist(tmp_path, packed, size=(5, 7)))
    np.testing.assert_array_equal(data.x_train[:, 0], arrays["train-images-idx3-ubyte"])
    np.testing.assert_array_equal(data.y_train, arrays["train-labels-idx1-ubyte"])
    np.testing.assert_array_equal(data.x_test[:, 0], arrays["t10k-images-idx3-ubyte"])
    np.testing.assert_array_equal(data.y_test, arrays["t10k-labels-idx1-ubyte"])
    assert data.shape == (1, 5, 7) and data.classes == tuple("0123456789")


def test_a_mnist_file_that_is_missing_is_named(mnist):
    (mnist / "t10k-labels-idx1-ubyte").unlink()
    refuses(mnist, f"{mnist} must also hold t10k-labels-idx1-ubyte: not found there")


@pytest.mark.parametrize(
    ("head", "got"),
    [(b"\0\0\x08\x01", "0x00000801"), (b"\x1f\x8b", "0x1f8b"), (b"", "an empty file")],
)
def test_an_idx_file_must_start_with_its_magic_number(mnist, head, got):
    path = mnist / "train-images-idx3-ubyte"
    path.write_bytes(head + bytes(12) if len(head) == 4 else head)
    refuses(mnist, f"{path} must start with the magic number 0x00000803, got {got}")


def test_an_idx_header_must_be_whole(mnist):
    path = mnist / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:10])
    refuses(mnist, f"{path} must have a header of 16 bytes, got 10 bytes")


@pytest.mark.parametrize("extra", [-1, 1])
def test_an_idx_file_must_be_as_long_as_its_header_says(mnist, extra):
    path = mnist / "train-images-idx3-ubyte"
    content = path.read_bytes()
    path.write_bytes(content[:-1] if extra < 0 else content + b"\0")
    got = 20 * 64 + extra
    refuses(mnist, f"{path} must hold 20 x 8 x 8 bytes = 1280 after its header, got {got}")


def test_a_huge_size_in_an_idx_header_is_an_error_like_any_other(mnist):
    path, n = mnist / "train-images-idx3-ubyte", 2**32 - 1
    path.write_bytes(struct.pack(">4I", 0x803, n, n, n))
    refuses(mnist, f"{path} must hold {n} x {n} x {n} bytes = {n**3} after its header, got 0")


def refuses_in_little_memory(folder, message):
    tracemalloc.start()
    try:
        refuses(folder, message)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_a_plain_file_that_is_longer_than_its_header_says_is_not_read(mnist):
    path = mnist / "train-images-idx3-ubyte"
    os.truncate(path, 2**30)
    message = f"{path} must hold 20 x 8 x 8 bytes = 1280 after its header, got {2**30 - 16}"
    refuses_in_little_memory(mnist, message)


def test_a_gz_file_that_is_longer_than_its_header_says_is_not_read_to_its_end(tmp_path):
    write_mnist(tmp_path, packed=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(struct.pack(">4I", 0x803, 2, 8, 8) + bytes(2**24)))
    message = f"{path} must hold 2 x 8 x 8 bytes = 128 after its header, got more"
    refuses_in_little_memory(tmp_path, message)


def test_a_gz_file_that_is_shorter_than_its_header_says_is_refused(tmp_path):
    write_mnist(tmp_path, packed=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(struct.pack(">4I", 0x803, 2, 8, 8) + bytes(127)))
    refuses(tmp_path, f"{path} must hold 2 x 8 x 8 bytes = 128 after its header, got 127")


def test_a_gz_file_that_is_too_small_for_what_its_header_says_is_not_read(tmp_path):
    write_mnist(tmp_path, packed=True)
    path, n = tmp_path / "train-images-idx3-ubyte.gz", 10_000
    path.write_bytes(gzip.compress(struct.pack(">4I", 0x803, n, n, n)))
    got = f"a gzip file of {path.stat().st_size} bytes"
    message = f"{path} must hold {n} x {n} x {n} bytes = {n**3} after its header, got {got}"
    refuses_in_little_memory(tmp_path, message)


def test_a_gz_file_of_zeros_is_not_too_small(tmp_path):
    write_mnist(tmp_path, packed=True, size=(500, 500))
    zeros = gzip.compress(idx(np.zeros((20, 500, 500))))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(zeros)
    assert load_folder(tmp_path).x_train.shape == (20, 1, 500, 500)


def test_a_gz_file_with_a_wrong_checksum_is_refused(tmp_path):
    write_mnist(tmp_path, packed=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="must be a complete gzip file, got one that fails: CRC"):
        load_folder(tmp_path)


@pytest.mark.parametrize("sizes", [(0, 2**32 - 1, 2**32 - 1), (20, 0, 8)])
def test_a_size_of_0_in_an_idx_header_is_an_error_with_the_name_of_the_file(mnist, sizes):
    path = mnist / "train-images-idx3-ubyte"
    path.write_bytes(struct.pack(">4I", 0x803, *sizes))
    text = " x ".join(map(str, sizes))
    refuses(mnist, f"{path} must have sizes of at least 1 in its header, got {text}")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a pipe in a folder")
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_no_pipe_in_the_place_of_an_idx_file_is_waited_for(mnist, soon, ending):
    (mnist / "train-images-idx3-ubyte").unlink()
    path = mnist / f"train-images-idx3-ubyte{ending}"
    os.mkfifo(path)
    refuses(mnist, f"{path} must be a file, got a device, a pipe or a socket")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a pipe in a folder")
@pytest.mark.parametrize("name", ["data_batch_2.bin", "batches.meta.txt"])
def test_no_pipe_in_the_place_of_a_cifar_file_is_waited_for(cifar, soon, name):
    (cifar / name).unlink()
    os.mkfifo(cifar / name)
    refuses(cifar, f"{cifar} must also hold {name}: not found there")


def test_a_mnist_label_must_be_a_digit(mnist):
    path = mnist / "train-labels-idx1-ubyte"
    labels = np.arange(20) % 10
    labels[3] = 11
    path.write_bytes(idx(labels))
    refuses(mnist, f"{path} must hold labels from 0 to 9, got 11 for image 3")


def test_mnist_images_and_labels_must_be_as_many(mnist):
    path = mnist / "train-labels-idx1-ubyte"
    path.write_bytes(idx(np.zeros(19)))
    images = mnist / "train-images-idx3-ubyte"
    refuses(mnist, f"{path} must hold 20 labels, as {images} has, got 19")


@pytest.mark.parametrize("part", ["train", "t10k"])
def test_mnist_must_hold_two_images_to_train_and_two_to_test(tmp_path, part):
    write_mnist(tmp_path, **{"n_train" if part == "train" else "n_test": 1})
    path = tmp_path / f"{part}-images-idx3-ubyte"
    refuses(tmp_path, f"{path} must hold at least 2 images, got 1")


def test_mnist_test_images_must_have_the_size_of_the_training_images(mnist):
    path = mnist / "t10k-images-idx3-ubyte"
    path.write_bytes(idx(np.zeros((10, 8, 9))))
    refuses(
        mnist,
        f"{path} must hold images of 8 x 8 pixels, as the training images are, got 8 x 9",
    )


def test_a_truncated_gz_file_is_named(tmp_path):
    write_mnist(tmp_path, packed=True)
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    refuses(
        tmp_path,
        f"{path} must be a complete gzip file, got one that fails: Compressed file ended before "
        "the end-of-stream marker was reached",
    )


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(b"x" * 99)[:10] + b"\xff" * 20],
    ids=["no gzip", "no data behind the head"],
)
def test_a_file_that_is_gz_by_name_alone_is_named(tmp_path, content):
    write_mnist(tmp_path, packed=True)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="must be a complete gzip file, got one that fails") as e:
        load_folder(tmp_path)
    assert str(path) in str(e.value)


# folders that are neither


def test_a_data_folder_of_neither_cifar_nor_mnist_is_refused(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    refuses(
        tmp_path,
        f"{tmp_path} must hold CIFAR-10's binary version (data_batch_1.bin, ...) or MNIST's IDX "
        "files (train-images-idx3-ubyte, ...), but it has no file with such a name",
    )


def test_the_data_folder_must_be_a_folder(tmp_path):
    refuses(
        tmp_path / "nowhere",
        f"{tmp_path / 'nowhere'} must be a folder with images, but it does not exist",
    )
    (tmp_path / "file").write_bytes(b"")
    refuses(
        tmp_path / "file", f"{tmp_path / 'file'} must be a folder with images, but it is a file"
    )


# from pixels to a network's input


def test_training_pixels_become_mean_0_and_variance_1_per_channel(cifar):
    data = load_folder(cifar)
    x = Pixels.of(data, chunk=3).to_input(data.x_train, data.peak, axis=1)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x.mean(axis=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(x.var(axis=(0, 2, 3)), 1, rtol=1e-5)


def test_channels_go_last_where_the_network_wants_them(cifar):
    data = load_folder(cifar)
    pixels = Pixels.of(data)
    first = pixels.to_input(data.x_test, data.peak, axis=1)
    last = pixels.to_input(data.x_test, data.peak, axis=-1)
    np.testing.assert_array_equal(last, first.transpose(0, 2, 3, 1))
    assert last.flags.c_contiguous


def test_a_channel_without_contrast_becomes_zero(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.full((20, 8, 8), 200)))
    data = load_folder(tmp_path)
    assert not Pixels.of(data).to_input(data.x_train, data.peak, axis=1).any()


def test_an_image_beyond_all_training_images_is_told_in_which_way(tmp_path):
    light = Light((0.2, 0.4), (0.1, 0.3))
    half = np.array([[[102] * 4, [26] * 4]], np.uint8)  # mean 0.25, deviation 0.15
    assert light.unlike(half) == []
    assert light.unlike(np.zeros((1, 2, 4), np.uint8)) == ["darker", "of less contrast"]
    sharp = np.array([[[255] * 4, [0] * 4]], np.uint8)
    assert light.unlike(sharp) == ["lighter", "of more contrast"]


def test_no_training_image_is_unlike_the_training_images(tmp_path):
    data = load_folder(write_mnist(tmp_path))
    light = Light.of(data, chunk=7)
    assert light == Light.of(data)
    assert not any(light.unlike(image) for image in data.x_train)
