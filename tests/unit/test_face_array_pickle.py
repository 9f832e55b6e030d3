import io
import os
import pickle
import pickletools
import subprocess

import flame_samples
import numpy as np
import pytest
import scipy.sparse

from deeptalk.errors import UserError
from deeptalk.face import array_pickle
from deeptalk.face.array_pickle import read_array_pickle

ARRAYS = {
    "doubles": np.arange(12.0).reshape(3, 4),
    "columns_first": np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4)),
    "big_endian": np.arange(5, dtype=">i4"),
    "whole": np.arange(6, dtype=np.uint32),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 3)),
    "scalar": np.array(7.5),
}


def write(folder, content, name="file.pkl"):
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_of_every_protocol_come_back(tmp_path, protocol):
    found = read_array_pickle(write(tmp_path, pickle.dumps(ARRAYS, protocol)))
    assert set(found) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
        assert found[name].dtype == array.dtype.newbyteorder("=")


def test_python_2_files_come_back(tmp_path):
    content = flame_samples.python2_pickle(ARRAYS)
    assert b"cnumpy.core.multiarray\n_reconstruct" in content
    found = read_array_pickle(write(tmp_path, content))
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize("layout", [scipy.sparse.csc_matrix, scipy.sparse.csr_matrix])
@pytest.mark.parametrize("dump", [pickle.dumps, flame_samples.python2_pickle])
def test_sparse_matrices_come_back_dense(tmp_path, layout, dump):
    dense = np.random.default_rng(0).random((5, 40)) * (np.random.default_rng(1).random((5, 40)) > 0.8)
    found = read_array_pickle(write(tmp_path, dump({"regressor": layout(dense)})))
    np.testing.assert_array_equal(found["regressor"], dense)


def test_chumpy_objects_come_back_as_their_arrays(tmp_path):
    arrays = flame_samples.flame_arrays()
    content = flame_samples.flame_2020_pickle(arrays)
    assert b"cchumpy.ch\nCh" in content
    assert b"cchumpy.reordering\nSelect" in content
    found = read_array_pickle(write(tmp_path, content))
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    assert "bs_type" not in found


class RunsCommand:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


class OpensProcess(RunsCommand):
    def __reduce__(self):
        return subprocess.check_call, (["touch", str(self.target)],)


class Evaluates(RunsCommand):
    def __reduce__(self):
        return eval, (f"open({str(self.target)!r}, 'w')",)


class ReadsArrayFile(RunsCommand):
    def __reduce__(self):
        return np.load, (str(self.target), None, True)


@pytest.mark.parametrize("kind", [RunsCommand, OpensProcess, Evaluates, ReadsArrayFile])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_in_a_pickle_is_refused_by_name_and_not_run(tmp_path, kind, protocol):
    canary = tmp_path / "canary"
    content = pickle.dumps({"v_template": np.zeros(3), "evil": kind(canary)}, protocol)
    with pytest.raises(
        UserError, match=r"asks for (posix\.system|subprocess|commands|builtins\.eval|numpy)[^;]*; nothing of it"
    ):
        read_array_pickle(write(tmp_path, content))
    assert not canary.exists()
    if kind is not ReadsArrayFile:  # the file would really have done it
        pickle.loads(content)
        assert canary.exists()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"c__builtin__\ngetattr\n.", r"builtins\.getattr"),
        (b"cdeeptalk.face.array_pickle\n_KNOWN\n.", "array_pickle"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0bndarray.fly\x93.", r"ndarray\.fly"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x02c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R.", "bytes made of int"),
        (b"Pnumber\n.", "PERSID"),
        (b"\x80\x02]r\xff\xff\xff\xff.", "steps"),
        # The encoder stand-in is handed a state, as an attack on its attributes would be.
        (b"\x80\x02c_codecs\nencode\n}b.", "a change of a function"),
        (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.", "rot13"),
        (b"\x80\x02ccopy_reg\n_reconstructor\nc__builtin__\nset\nc__builtin__\nobject\nN\x87R.", "an object of"),
    ],
)
def test_crafted_instructions_are_refused(tmp_path, content, text):
    with pytest.raises(UserError, match=text):
        read_array_pickle(write(tmp_path, content))


def test_object_arrays_and_bytes_posing_as_objects_are_refused(tmp_path):
    with pytest.raises(UserError, match="type 'O8'"):
        read_array_pickle(write(tmp_path, pickle.dumps({"x": np.array([{}], dtype=object)})))
    numbers = pickle.dumps({"x": np.arange(3.0)}, 2)
    assert numbers.count(b"f8") == 1
    with pytest.raises(UserError, match="type 'O8'"):  # NumPy itself would follow the numbers as pointers
        read_array_pickle(write(tmp_path, numbers.replace(b"f8", b"O8")))


def test_arrays_that_claim_more_than_they_hold_are_refused(tmp_path):
    content = pickle.dumps({"x": np.arange(3.0)}, 2).replace(b"K\x03\x85", b"J\xff\xff\xff\x7f\x85")
    assert any(argument == 0x7FFFFFFF for _, argument, _ in pickletools.genops(content))
    with pytest.raises(UserError, match=r"shape \(2147483647,\) with 24 bytes"):
        read_array_pickle(write(tmp_path, content))


def test_every_truncation_is_one_sentence(tmp_path):
    content = pickle.dumps(ARRAYS, 2)
    for length in range(0, len(content), 7):
        with pytest.raises(UserError, match="damaged or not a pickle"):
            read_array_pickle(write(tmp_path, content[:length]))


def test_every_flipped_byte_gives_arrays_or_one_sentence(tmp_path):
    content = pickle.dumps({"x": np.arange(4.0), "y": scipy.sparse.csc_matrix(np.eye(3))}, 2)
    refused = 0
    for place in range(len(content)):
        flipped = content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]
        try:
            read_array_pickle(write(tmp_path, flipped))
        except UserError:
            refused += 1
    assert refused > len(content) / 3


def test_what_is_no_dictionary_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds a list; expected a dictionary"):
        read_array_pickle(write(tmp_path, pickle.dumps([np.zeros(3)])))
    assert read_array_pickle(write(tmp_path, pickle.dumps({"text": "no array"}))) == {}


def test_missing_large_and_folder(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="cannot be read"):
        read_array_pickle(tmp_path / "none.pkl")
    with pytest.raises(UserError, match="cannot be read"):
        read_array_pickle(tmp_path)
    monkeypatch.setattr(array_pickle, "MAX_FILE_BYTES", 10)
    with pytest.raises(UserError, match="at most 2 GiB"):
        read_array_pickle(write(tmp_path, pickle.dumps(ARRAYS)))


def test_a_flood_of_instructions_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(array_pickle, "MAX_INSTRUCTIONS", 1000)
    with pytest.raises(UserError, match="more than 1000 steps"):
        read_array_pickle(write(tmp_path, b"\x80\x02" + b"]0" * 2000 + b"}."))


def test_the_stand_ins_are_as_before_after_all_that():
    file = io.BytesIO(pickle.dumps({"x": np.arange(3.0)}))
    assert array_pickle._Unpickler(file).load()["x"].array().tolist() == [0, 1, 2]
