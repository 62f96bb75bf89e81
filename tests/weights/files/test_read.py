"""Every container of weights gives the arrays that went in; a hostile or damaged one gives one line and runs nothing."""

import argparse
import collections
import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors.numpy import save as safetensors_bytes

from maskrcnn import pickles
from maskrcnn.weights.files import read as files
from maskrcnn.weights.files.read import read_tensors

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(4, 3, 2, 2)).astype(np.float32)
BIAS = RNG.normal(size=4).astype(np.float32)

# ------------------------------------------------------------------------ pickles by hand, as torch and Python 2 write them


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    return pickle.dumps(value, 2)[2:-1]


def tuple_of(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def dict_of(**items: bytes) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def storage(key="0", kind="FloatStorage", size=4, module="torch") -> bytes:
    return tuple_of(text("storage"), name(module, kind), text(key), text("cpu"), number(size)) + b"Q"


def tensor(stored: bytes, shape=(4,), strides=(1,), offset=0, rebuild="_rebuild_tensor_v2") -> bytes:
    parts = [stored, number(offset), tuple_of(*map(number, shape)), tuple_of(*map(number, strides))]
    if rebuild == "_rebuild_tensor_v2":
        parts += [b"\x89", name("collections", "OrderedDict") + b")R"]
    return name("torch._utils", rebuild) + tuple_of(*parts) + b"R"


def program(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def archive(body: bytes, storages: dict[str, bytes], *, root="archive", method=zipfile.ZIP_STORED, **entries: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as written:
        written.writestr(f"{root}/data.pkl", program(body))
        for key, data in {**{f"data/{key}": data for key, data in storages.items()}, **entries}.items():
            written.writestr(f"{root}/{key}", data)
    return file.getvalue()


def old(body: bytes, storages: dict[str, bytes], sizes: dict[str, int], *, order="little") -> bytes:
    system = {"protocol_version": 1001, "little_endian": order == "little", "type_sizes": {"short": 2}}
    pickles = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, system)]
    stored = [sizes[key].to_bytes(8, order) + data for key, data in storages.items()]
    return b"".join([*pickles, program(body), pickle.dumps(list(storages), 2), *stored])


def numpy_1(array: np.ndarray, data: bytes | None = None) -> bytes:
    """An array as Python 2 and NumPy 1 pickle it: old names, and bytes as text."""
    data = array.tobytes() if data is None else data
    dtype = name("numpy", "dtype") + tuple_of(b"U\x02f4", number(0), number(1)) + b"R"
    dtype += tuple_of(number(3), b"U\x01<", b"N", b"N", b"N", number(-1), number(-1), number(0)) + b"b"
    made = (
        name("numpy.core.multiarray", "_reconstruct")
        + tuple_of(name("numpy", "ndarray"), number(0) + b"\x85", b"U\x01b")
        + b"R"
    )
    raw = b"T" + struct.pack("<i", len(data)) + data
    return made + tuple_of(number(1), tuple_of(*map(number, array.shape)), dtype, b"\x89", raw) + b"b"


def safetensors_by_hand(dtype: str, shape: list[int], data: bytes) -> bytes:
    header = json.dumps({"a": {"dtype": dtype, "shape": shape, "data_offsets": [0, len(data)]}}).encode()
    return struct.pack("<Q", len(header)) + header + data


ZIP = archive(
    dict_of(kernel=tensor(storage(size=48), (4, 3, 2, 2), (12, 4, 2, 1)), bias=tensor(storage("1"))),
    {"0": KERNEL.tobytes(), "1": BIAS.tobytes()},
)
OLD = old(
    dict_of(kernel=tensor(storage(size=48), (4, 3, 2, 2), (12, 4, 2, 1), rebuild="_rebuild_tensor"), bias=tensor(storage("1"))),
    {"0": KERNEL.tobytes(), "1": BIAS.tobytes()},
    {"0": 48, "1": 4},
)
PKL = program(dict_of(model=dict_of(kernel=numpy_1(KERNEL), bias=numpy_1(BIAS)), __author__=text("someone")))
SAFETENSORS = safetensors_bytes({"kernel": KERNEL, "bias": BIAS}, {"format": "np"})


def keras_bytes(*, nested: bool = False, convert=np.bytes_) -> bytes:
    """A file as Keras 2 writes matterport's: a plain layer, one made twice in a session, and a model within the model."""
    layers = {
        "conv1": ["conv1_1/kernel:0", "conv1_1/bias:0"],
        "input_image": [],
        "rpn_model": ["rpn_conv_shared/kernel:0", "rpn_class_raw/bias:0"],
    }
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        root = file.create_group("model_weights") if nested else file
        root.attrs["layer_names"] = [convert(layer) for layer in layers]
        for layer, weights in layers.items():
            group = root.create_group(layer)
            group.attrs["weight_names"] = [convert(weight) for weight in weights]
            for weight in weights:
                group[weight] = KERNEL if "kernel" in weight else BIAS
    return buffer.getvalue()


H5 = keras_bytes()
CONTAINERS = {"zip": ZIP, "old": OLD, "pkl": PKL, "safetensors": SAFETENSORS, "h5": H5}


@pytest.fixture
def read(tmp_path):
    """Reads bytes by way of a file, whose suffix says nothing."""

    def read_bytes(data: bytes) -> files.Tensors:
        path = tmp_path / "weights.bin"
        path.write_bytes(data)
        return read_tensors(path)

    return read_bytes


@pytest.fixture
def refusal(read):
    """The line that refuses the bytes; there is only one, and it begins with the file."""

    def refuse(data: bytes) -> str:
        with pytest.raises(ValueError) as caught:
            read(data)
        line = str(caught.value)
        assert "weights.bin" in line and "\n" not in line and len(line) < 600
        return line

    return refuse


# ---------------------------------------------------------------------------------------------------------- what is read


@pytest.mark.parametrize("container", ["zip", "old", "pkl", "safetensors"])
def test_every_container_gives_the_arrays_that_went_in(read, container):
    tensors = read(CONTAINERS[container]).tensors
    assert sorted(tensors) == ["bias", "kernel"]
    for found, expected in ((tensors["kernel"], KERNEL), (tensors["bias"], BIAS)):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("convert", [np.bytes_, str])
def test_keras_layers_are_named_by_their_group_and_inner_models_by_their_scopes(read, nested, convert):
    tensors = read(keras_bytes(nested=nested, convert=convert)).tensors
    assert list(tensors) == ["conv1/kernel", "conv1/bias", "rpn_conv_shared/kernel", "rpn_class_raw/bias"]
    np.testing.assert_array_equal(tensors["conv1/kernel"], KERNEL)
    np.testing.assert_array_equal(tensors["rpn_class_raw/bias"], BIAS)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_of_todays_numpy_are_read_in_every_protocol(read, protocol):
    arrays = {
        "transposed": KERNEL.T,
        "fortran": np.asfortranarray(KERNEL),
        "double": BIAS.astype(np.float64),
        "half": BIAS.astype(np.float16),
        "big": BIAS.astype(">f4"),
        "count": np.arange(3),
        "flags": np.array([True, False]),
        "scalar": np.array(2.5, np.float32),
        "none": np.zeros((0, 3), np.float32),
    }
    found = read(pickle.dumps({"model": arrays, "score": np.float32(0.5)}, protocol))
    assert found.meta == {"score": 0.5}
    for key, array in arrays.items():
        assert found.tensors[key].shape == array.shape
        assert found.tensors[key].dtype == (np.float32 if array.dtype.kind == "f" else array.dtype)
        np.testing.assert_array_equal(found.tensors[key], array.astype(found.tensors[key].dtype))


def test_old_and_new_files_of_a_big_endian_machine_are_read(read):
    body = dict_of(bias=tensor(storage()))
    data = {"0": BIAS.astype(">f4").tobytes()}
    np.testing.assert_array_equal(read(old(body, data, {"0": 4}, order="big")).tensors["bias"], BIAS)
    np.testing.assert_array_equal(read(archive(body, data, byteorder=b"big")).tensors["bias"], BIAS)


def test_bfloat16_is_the_upper_half_of_a_float32(read):
    halves = struct.pack("<4H", 0x3F80, 0xC000, 0x0001, 0x7F80)
    expected = np.array([1, -2, np.array(0x10000, np.uint32).view(np.float32), np.inf], np.float32)
    for data in (
        archive(dict_of(a=tensor(storage(kind="BFloat16Storage"))), {"0": halves}),
        safetensors_by_hand("BF16", [4], halves),
    ):
        np.testing.assert_array_equal(read(data).tensors["a"], expected)


def test_doubles_too_large_for_float32_become_infinite_without_a_warning(read):
    assert np.isinf(read(pickle.dumps({"a": np.array([1e300])})).tensors["a"]).all()


def test_prefix_of_parallel_training_is_dropped(read):
    state = {"module.a": BIAS, "module.bn.num_batches_tracked": np.array(7)}
    assert list(read(pickle.dumps(state)).tensors) == ["a", "bn.num_batches_tracked"]
    assert list(read(pickle.dumps({**state, "b": BIAS})).tensors) == ["module.a", "module.bn.num_batches_tracked", "b"]


@pytest.mark.parametrize("nest", ["model", "state_dict", "model_state_dict"])
def test_state_dict_is_found_under_its_usual_names(read, nest):
    assert list(read(pickle.dumps({"epoch": 3, nest: {"a": BIAS}})).tensors) == ["a"]


def test_plain_values_beside_the_tensors_are_kept_by_path(read):
    meta = {"CLASSES": ("cat", "dog"), "mmdet_version": "2.0", "dataset_meta": {"classes": ["cat"]}, "hooks": [1, 2]}
    found = read(pickle.dumps({"state_dict": {"a": BIAS}, "meta": meta, "__author__": "x", 3: "y"}))
    assert found.meta == {
        "__author__": "x",
        "meta/CLASSES": ("cat", "dog"),
        "meta/mmdet_version": "2.0",
        "meta/dataset_meta/classes": ("cat",),
    }
    assert read(SAFETENSORS).meta == {"format": "np"}


def test_what_training_scripts_keep_beside_the_weights_is_read_past(read):
    history = name("mmengine.logging.history_buffer", "HistoryBuffer")
    method = name("__builtin__", "getattr") + tuple_of(history, text("mean")) + b"R"
    beside = pickle.dumps(
        (argparse.Namespace(lr=0.1), Path("a"), {1, 2}, collections.Counter("ab"), collections.defaultdict(list)), 2
    )
    body = dict_of(model=dict_of(bias=numpy_1(BIAS)), log=history + b")\x81" + dict_of(mean=method) + b"b", args=beside[2:-1])
    np.testing.assert_array_equal(read(program(body)).tensors["bias"], BIAS)


def test_an_ordered_dict_of_python_2_is_read_from_its_pairs(read):
    pairs = b"](](" + number(7) + b"Ne](" + text("bias") + numpy_1(BIAS) + b"ee"
    np.testing.assert_array_equal(read(program(name("collections", "OrderedDict") + pairs + b"\x85R")).tensors["bias"], BIAS)


# ------------------------------------------------------------------------------------------------ against torch itself


@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_torch_give_the_arrays_of_torch(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    base = torch.arange(60, dtype=torch.float32).reshape(3, 4, 5) / 7
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 2), torch.nn.BatchNorm2d(4))
    state = network.state_dict()  # an OrderedDict with _metadata
    state |= {
        "shared": base,
        "slice": base[1:, 2],
        "transposed": base.permute(2, 0, 1),
        "strided": base[:, ::2, 1::3],
        "expanded": base[0, 0].expand(7, 5),
        "parameter": torch.nn.Parameter(base[2]),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "half": base.half(),
        "double": base.double(),
        "bfloat": base.bfloat16(),
        "flags": base > 3,
        # As training with `memory_format=torch.channels_last` leaves it: the strides' product is far beyond the storage.
        "channels_last": torch.arange(2 * 512 * 3 * 3.0).reshape(2, 512, 3, 3).to(memory_format=torch.channels_last),
        "wide_strides": torch.arange(64 * 960.0).reshape(64, 960, 1, 1).to(memory_format=torch.channels_last),
    }
    state |= {
        str(kind): torch.arange(-3, 3).to(kind) for kind in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
    }
    state |= {"wide": torch.arange(3).to(torch.uint16)} if zipped else {}  # a storage without a type
    optimiser = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 3, 4, 4)).sum().backward()
    optimiser.step()
    torch.save(
        {"model": state, "optimizer": optimiser.state_dict(), "size": base.shape, "device": torch.device("cpu")},
        tmp_path / "model.pth",
        _use_new_zipfile_serialization=zipped,
    )
    tensors = read_tensors(tmp_path / "model.pth").tensors
    assert set(tensors) == set(state)
    for key, array in tensors.items():
        expected = state[key].detach()
        expected = expected.float().numpy() if expected.is_floating_point() else expected.numpy()
        assert array.dtype == expected.dtype
        assert array.shape == expected.shape
        assert array.flags.c_contiguous
        np.testing.assert_array_equal(array, expected)


def test_a_whole_model_of_torch_is_refused_by_its_class(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pth")
    with pytest.raises(
        ValueError, match=r"wants to run 'torch.nn.modules.linear.Linear'.*Save the model's state_dict\(\) alone"
    ):
        read_tensors(tmp_path / "model.pth")


# ---------------------------------------------------------------------------------------------------------- hostile files


def would_run(module: str, attribute: str, *arguments: bytes) -> bytes:
    return dict_of(a=name(module, attribute) + tuple_of(*arguments) + b"R")


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (would_run("os", "system", text("touch ran")), "os.system"),
        (would_run("posix", "system", text("touch ran")), "posix.system"),
        (would_run("builtins", "eval", text("1")), "builtins.eval"),
        (would_run("__builtin__", "eval", text("1")), "builtins.eval"),
        (would_run("builtins", "getattr", text("a"), text("upper")), "builtins.getattr"),
        (would_run("torch.storage", "_load_from_bytes", text("a")), "torch.storage._load_from_bytes"),
        (would_run("collections", "OrderedDict.fromkeys", text("a")), "collections.OrderedDict.fromkeys"),
        (text("os") + text("system") + b"\x93", "os.system"),
        (b"(ios\nsystem\n", "INST"),
        (b"(" + name("numpy", "dtype") + text("f4") + b"o", "OBJ"),
        (b"\x82\x01", "EXT1"),
        (b"Pstorage\n", "PERSID"),
        (name("numpy", "dtype") + b")}\x92", "NEWOBJ_EX"),
    ],
)
def test_what_wants_to_run_is_refused_by_name(refusal, body, wanted):
    for data in (program(body), archive(body, {}), old(body, {}, {})):
        assert wanted in refusal(data)


def test_nothing_of_a_hostile_file_is_run(refusal, tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    for protocol in range(2, 6):
        assert f"wants to run '{os.mkdir.__module__}.mkdir'" in refusal(pickle.dumps({"a": BIAS, "b": Hostile()}, protocol))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("stored", "layout", "reason"),
    [
        (storage(size=5), {}, "has 16 bytes for tensor 'a' instead of 20"),
        (storage(), {"shape": (5,)}, "reach beyond its storage of 16 bytes"),
        (storage(), {"offset": 1}, "reach beyond"),
        (storage(), {"strides": (2,)}, "reach beyond"),
        (storage(), {"shape": (4, 1 << 20), "strides": (1, 1 << 20)}, "reach beyond"),
        (storage(), {"offset": -1}, "'a' as torch does not"),
        (storage(), {"strides": (-1,)}, "'a' as torch does not"),
        (storage(), {"shape": (-4,)}, "'a' as torch does not"),
        (storage(), {"shape": (2, 2)}, "'a' as torch does not"),
        (storage(), {"shape": (1 << 70,), "strides": (0,)}, "'a' as torch does not"),
        (storage(), {"shape": (0, 1 << 31, 1 << 31), "strides": (1, 1, 1)}, "'a' as torch does not"),
        (storage(), {"shape": (1,) * 40, "strides": (1,) * 40}, "'a' as torch does not"),
        (storage(), {"shape": (1 << 30,), "strides": (0,)}, "would fill more than"),
        (storage(size=-1), {}, "not a storage"),
        (storage(key="../data.pkl"), {}, "lacks its part"),
        (storage(kind="ComplexFloatStorage"), {}, "ComplexFloatStorage"),
        (tuple_of(text("storage"), text("a")) + b"Q", {}, "damaged"),
        (storage()[:-2] + tuple_of(text("0"), number(0), number(4)) + b"tQ", {}, "not a storage"),
        (tuple_of(text("module"), *[text("a")] * 4) + b"Q", {}, "not a storage"),
        (tuple_of(text("storage"), *[b"N"] * 4) + b"Q", {}, "not a storage"),
    ],
)
def test_tensors_that_do_not_fit_their_storage_are_refused(refusal, stored, layout, reason):
    assert reason in refusal(archive(dict_of(a=tensor(stored, **layout)), {"0": BIAS.tobytes()}))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(100), "begins with"),
        (pickle.dumps({"model": {"a": BIAS.astype(object)}}), "array 'a' of Python objects"),
        (pickle.dumps({"a": np.array(["text"])}), "array 'a' of Python objects or text"),
        (pickle.dumps({"a": np.zeros(2, [("x", "f4")])}), "array 'a' of Python objects"),
        (pickle.dumps({"a": np.zeros(2, np.complex64)}), "array 'a' of Python objects"),
        (pickle.dumps({"a": 1, "model": {"b": {"c": BIAS}}}), "holds no named tensors"),
        (pickle.dumps([BIAS]), "holds no named tensors"),
        (program(dict_of(a=numpy_1(BIAS, data=b"123"))), "wrong number of bytes for array 'a'"),
        (program(dict_of(a=name("numpy", "ndarray") + b")R")), "array 'a'"),
        (program(dict_of(a=tensor(storage()))), "has 0 bytes for tensor 'a'"),
        (safetensors_by_hand("C64", [1], bytes(8)), ""),  # by our own line or, in older releases, by that of safetensors
        (archive(dict_of(a=tensor(storage())), {"0": bytes(16)}, method=zipfile.ZIP_DEFLATED), "compressed"),
        (archive(dict_of(a=tensor(storage())), {}), "lacks its part 'data/0'"),
        (archive(b"}", {}, root="a/b"), "0 data.pkl"),
        (ZIP.replace(BIAS.tobytes(), BIAS[::-1].tobytes()), "in tensor 'bias': Bad CRC"),
        (old(dict_of(a=tensor(storage())), {"0": bytes(16)}, {"0": 5}), "at tensor 'a' of 16 bytes"),
        (old(dict_of(a=tensor(storage())), {}, {}), "damaged"),
        (archive(dict_of(a=tensor(storage()), b=tensor(storage(size=3))), {"0": bytes(16)}), "twice"),
    ],
)
def test_files_that_cannot_be_weights_are_refused_with_the_reason(refusal, data, reason):
    assert reason in refusal(data)


def test_an_encrypted_zip_is_refused(refusal):
    encrypted = bytearray(ZIP)
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = -1
        while (start := encrypted.find(signature, start + 1)) >= 0:
            encrypted[start + flags] |= 1
    assert "is an encrypted zip" in refusal(bytes(encrypted))


def test_bombs_are_refused_before_they_unfold(refusal, monkeypatch):
    monkeypatch.setattr(pickles, "MAX_STEPS", 10_000)
    doubled = b")" + b"q\x00h\x00\x86" * 3000  # hashing it would take 2**3000 steps, and a stack as deep
    assert "holds no named tensors" in refusal(program(b"}" + doubled + b"Ns"))
    assert "instructions" in refusal(program(b"]" * 20_000))
    assert "damaged" in refusal(program(b"\x8e" + struct.pack("<Q", 1 << 62)))  # bytes of that length follow
    assert "holds no named tensors" in refusal(program(b"Nr\xff\xff\xff\xff"))  # a memo of 2**32 places
    assert "holds no named tensors" in refusal(program(b"]q\x00h\x00a"))  # a list that holds itself
    pairs = b"](" + text("bias") + numpy_1(BIAS) + b"\x86eq\x00"
    used_again = dict_of(
        first=name("collections", "OrderedDict") + pairs + b"\x85R", model=name("collections", "OrderedDict") + b"h\x00\x85R"
    )
    assert "holds no named tensors" in refusal(program(used_again))
    wide = b"(" + b"N" * 50 + b"tq\x00"
    assert "short tuple" in refusal(program(wide + name("collections", "Counter") + b"h\x00R"))
    doubled = b")" + b"q\x00h\x00\x86" * 20  # comparing two of them would take 2**20 steps
    dtype = name("numpy", "ndarray") + b")R" + tuple_of(b"N", doubled, b"N", b"N") + b"b"
    stored = tuple_of(text("storage"), dtype, text("0"), text("cpu"), number(4)) + b"Q"
    assert "not a storage" in refusal(program(dict_of(a=stored, b=stored)))


def test_limits_on_bytes_hold(refusal, monkeypatch, tmp_path):
    (tmp_path / "model.pth").write_bytes(archive(dict_of(a=tensor(storage(size=4000))), {"0": bytes(16000)}))
    monkeypatch.setattr(files, "MAX_PICKLE_BYTES", 200)
    assert "in data.pkl" in refusal(ZIP)
    monkeypatch.setattr(files, "MAX_BYTES", 5000)
    names = {f"t{i}": tensor(storage(size=400), (400,)) for i in range(4)}
    monkeypatch.setattr(files, "MAX_PICKLE_BYTES", 5000)
    assert "would fill more than 5,000 bytes" in refusal(archive(dict_of(**names), {"0": bytes(1600)}))
    assert "at most 5,000 are read" in refusal(bytes(5001))
    with pytest.raises(ValueError, match="would fill more"):  # entries that lie in each other add up to more than the file
        files._read_zip(tmp_path / "model.pth")


def test_the_list_of_entries_of_a_zip_is_bounded(refusal, monkeypatch):
    monkeypatch.setattr(files, "MAX_PICKLE_BYTES", 2000)
    assert "damaged" in refusal(archive(b"}", {str(i): b"" for i in range(100)}))


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="No weights file"):
        read_tensors(tmp_path / "missing.pth")
    with pytest.raises(ValueError, match="is not a file"):
        read_tensors(tmp_path)


def hostile_h5(change) -> bytes:
    buffer = io.BytesIO(H5)
    with h5py.File(buffer, "r+") as file:
        weight = "conv1/conv1_1/bias:0"
        del file[weight]
        change(file, weight)
    return buffer.getvalue()


def virtual(file: h5py.File, weight: str) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "a", (4,))
    file.create_virtual_dataset(weight, layout)


@pytest.mark.parametrize(
    "change",
    [
        lambda file, weight: None,
        lambda file, weight: file.__setitem__(weight, h5py.ExternalLink("/etc/passwd", "/a")),
        lambda file, weight: file.__setitem__(weight, h5py.SoftLink("/conv1/conv1_1/kernel:0")),
        lambda file, weight: file.create_group(weight),
        lambda file, weight: file.create_dataset(weight, data=["text"]),
        lambda file, weight: file.create_dataset(weight, data=np.bytes_("text")),
        lambda file, weight: file.create_dataset(weight, data=h5py.Empty("f4")),
        lambda file, weight: file.create_dataset(weight, (1 << 40,), "f4"),
        lambda file, weight: file.create_dataset(weight, (4,), "f4"),
        lambda file, weight: file.create_dataset(weight, (1 << 20,), "f4", compression="gzip"),
        lambda file, weight: file.create_dataset(weight, (4,), "f4", external=[("/etc/passwd", 0, 16)]),
        lambda file, weight: file["conv1"].attrs.__setitem__("weight_names", [1.5]),
        lambda file, weight: file["conv1"].attrs.__setitem__("weight_names", ["conv1_1/kernel:0", "conv1_1/kernel:0"]),
        lambda file, weight: file.attrs.__delitem__("layer_names"),
        virtual,
    ],
)
def test_links_and_other_than_plain_blocks_of_numbers_are_refused_in_h5(refusal, change):
    assert "Fetch" in (line := refusal(hostile_h5(change))) or "Keras" in line


# ---------------------------------------------------------------------------------------------------------- damaged files


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_file_cut_off_anywhere_is_refused(refusal, container):
    data = CONTAINERS[container]
    for length in {*np.random.default_rng(1).integers(0, len(data), 20).tolist(), len(data) - 1}:
        refusal(data[:length])


@pytest.mark.parametrize("container", ["zip", "old", "pkl", "safetensors"])
def test_damage_gives_arrays_or_an_error_of_one_line(read, container):
    """Of HDF5, the C library is left to test itself."""
    rng = np.random.default_rng(2)
    lines = []
    for _ in range(150):
        data = bytearray(CONTAINERS[container])
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(0, len(data))] = rng.integers(0, 256)
        try:
            read(bytes(data))
        except ValueError as error:
            lines.append(str(error))
    assert lines and all("weights.bin" in line and "\n" not in line for line in lines)
