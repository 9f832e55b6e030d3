import sys

import numpy as np
import pytest
from importer_samples import jaw_motion, speech, write_csv, write_sound

from deeptalk.cli import main


def run(monkeypatch, *words: str) -> int:
    """Exit code of `deeptalk corpus ...`."""
    monkeypatch.setattr(sys, "argv", ["deeptalk", "corpus", *words])
    with pytest.raises(SystemExit) as left:
        main()
    return left.value.code


def test_import_and_inspect_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("deeptalk.corpus.inspect.face_pictures", lambda corpus, faces: [])
    write_csv(tmp_path / "takes" / "good.csv", jaw_motion(3.0, 30.0))
    write_sound(tmp_path / "takes" / "good.wav", speech(3.0))
    (tmp_path / "takes" / "bad.csv").write_bytes(b"")
    corpus = str(tmp_path / "corpus")
    assert run(monkeypatch, "import", "livelink", str(tmp_path / "takes"), "--out", corpus, "speaker=ann") == 0
    printed = capsys.readouterr().out
    assert "1 clip imported, 1 refused, 0 files skipped" in printed
    assert "bad.csv is empty" in printed
    page = tmp_path / "page.html"
    assert run(monkeypatch, "inspect", corpus, "--out", str(page)) == 0
    assert "corpus: 1 piece of speech" in capsys.readouterr().out
    assert page.is_file()
    assert page.with_suffix(".json").is_file()


def test_nothing_imported_is_exit_code_2_and_one_sentence(tmp_path, monkeypatch, capsys):
    write_csv(tmp_path / "takes" / "bad.csv", np.full((60, 52), 3.0, np.float32))
    out = tmp_path / "corpus"
    assert run(monkeypatch, "import", "livelink", str(tmp_path / "takes"), "--out", str(out)) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert "Nothing was imported" in captured.err
    assert "1 x out of range" in captured.err
    assert not out.exists()
    assert run(monkeypatch, "inspect", str(tmp_path / "takes")) == 2
    assert "is not a corpus" in capsys.readouterr().err
