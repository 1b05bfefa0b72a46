"""Zip archives of strangers: what an honest packer makes is taken, and nothing else."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flip_lab.api.uploads import archives
from flip_lab.api.uploads.archives import app_root, is_safe, unpack
from flip_lab.core.errors import UploadTypeError

PROJECT = "pyproject.toml"
Entries = Iterable[tuple[str | zipfile.ZipInfo, bytes]]


def zipped(entries: Entries, *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Pack entries; a ZipInfo may say of itself whatever it likes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def special(name: str, mode: int) -> zipfile.ZipInfo:
    """Describe an entry that is no plain file."""
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3
    entry.external_attr = mode << 16
    return entry


def tried(tmp_path: Path, content: bytes) -> dict[str, bytes]:
    """Unpack an archive; give what it held. Nothing may be beside it, then or after."""
    archive, draft = tmp_path / "a.zip", tmp_path / "inner" / "app"
    draft.parent.mkdir()
    archive.write_bytes(content)
    try:
        with unpack("a.zip", archive, draft) as folder:
            assert folder == draft
            files = [path for path in folder.rglob("*") if path.is_file()]
            return {str(path.relative_to(folder)): path.read_bytes() for path in files}
    finally:
        left = sorted(path.name for path in tmp_path.rglob("*"))
        assert left == ["a.zip", "inner"], left


def test_an_app_comes_out_as_it_went_in(tmp_path: Path) -> None:
    """Files in directories, empty ones, and names in any script."""
    held = {PROJECT: b"x", "app/client.py": b"y" * 5000, "app/empty": b"", "ünï/ä.py": b"z"}
    content = zipped([("app/", b""), *held.items()])
    assert tried(tmp_path, content) == held


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "app/../../evil",
        "/etc/evil",
        "//host/evil",
        "C:/evil",
        "C:\\evil",
        "app\\..\\evil",
        "a/./b",
        "a//b",
        "./a",
        "a/...",
        "a\0.py",
        "a\n.py",
        "a\u202e.py",
        " a",
        "a ",
        "x" * 256,
        "ä" * 128,
        "a/" * 600 + "b",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    """Whatever system it would lead elsewhere on."""
    assert not is_safe(name)
    with pytest.raises(UploadTypeError):
        tried(tmp_path, raw(name, b"evil"))


def raw(name: str, content: bytes, *, flags: int = 0x800) -> bytes:
    """Pack one stored file by hand: zipfile tidies names up."""
    import zlib

    packed = name.encode()
    sizes = struct.pack("<LLL", zlib.crc32(content), len(content), len(content))
    common = struct.pack("<HHHHH", 20, flags, 0, 0, 0x21) + sizes
    local = b"PK\x03\x04" + common + struct.pack("<HH", len(packed), 0) + packed + content
    central = b"PK\x01\x02" + struct.pack("<H", 0x0314) + common
    central += struct.pack("<HHHHHLL", len(packed), 0, 0, 0, 0, stat.S_IFREG << 16, 0)
    central += packed
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(central), len(local), 0)
    return local + central + end


def test_the_hand_made_archive_is_one(tmp_path: Path) -> None:
    """So that what is refused of it is refused for its name."""
    assert tried(tmp_path, raw("app.py", b"fine")) == {"app.py": b"fine"}


@given(st.text(max_size=40))
@example("a/../b")
@example("a\\b")
@example("ﬀ/../x")
def test_what_is_safe_stays_below_on_every_system(name: str) -> None:
    """Joined to any directory, on POSIX or Windows, it lies inside."""
    if not is_safe(name):
        return
    for kind, root in ((PurePosixPath, "/lab/app"), (PureWindowsPath, "C:\\lab\\app")):
        path = kind(root) / name
        assert path.is_relative_to(root)
        assert ".." not in path.parts
        assert not kind(name).is_absolute()


@given(
    st.lists(
        st.from_regex(r"[a-zA-Zäß_][a-zA-Z0-9_.-]{0,8}[a-z0-9]", fullmatch=True),
        min_size=1,
        max_size=6,
    )
)
def test_usual_names_are_safe(parts: list[str]) -> None:
    """What people call files is taken."""
    assert is_safe("/".join(parts))
    assert is_safe("/".join(parts) + "/")


@pytest.mark.parametrize(
    "entries",
    [
        [(special("link", stat.S_IFLNK | 0o777), b"/etc/passwd")],
        [(special("pipe", stat.S_IFIFO | 0o644), b"")],
        [(special("device", stat.S_IFCHR | 0o644), b"")],
        [(special("block", stat.S_IFBLK | 0o644), b"")],
        [(special("socket", stat.S_IFSOCK | 0o644), b"")],
        [(special("folder/", stat.S_IFREG | 0o644), b"")],
        [(special("file", stat.S_IFDIR | 0o755), b"x")],
        [("a.py", b"1"), ("A.py", b"2")],
        [("app/a.py", b"1"), ("APP/b.py", b"2")],
        [("ä.py".encode().decode(), b"1"), ("a\u0308.py", b"2")],
        [("straße.py", b"1"), ("STRASSE.py", b"2")],
        [("a", b"1"), ("a/b.py", b"2")],
        [("a/b.py", b"2"), ("a", b"1")],
        [("a", b"1"), ("a/", b"")],
    ],
    ids=str,
)
def test_what_is_no_plain_file_or_not_one_everywhere_is_refused(
    tmp_path: Path, entries: list[tuple[str, bytes]]
) -> None:
    """Links, devices, names that are one where case or form does not count."""
    with pytest.raises(UploadTypeError):
        tried(tmp_path, zipped(entries))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_one_name_twice_is_refused(tmp_path: Path) -> None:
    """Which of the two would count differs between programs."""
    with pytest.raises(UploadTypeError, match="twice"):
        tried(tmp_path, zipped([("a.py", b"1"), ("a.py", b"2")]))


def test_a_password_is_refused(tmp_path: Path) -> None:
    """Nobody could look at what is inside."""
    with pytest.raises(UploadTypeError, match="encrypted"):
        tried(tmp_path, raw("a.py", b"secret", flags=0x801))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_ways_to_pack_are_refused(tmp_path: Path, method: int) -> None:
    """Their bombs are more powerful."""
    with pytest.raises(UploadTypeError, match="packed in a way"):
        tried(tmp_path, zipped([("a.py", b"x")], method=method))


def test_a_bomb_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """A thousand to one, in one file or in many."""
    with pytest.raises(UploadTypeError, match="times its length"):
        tried(tmp_path, zipped([("zeros", b"\0" * 20_000_000)]))


def test_a_bomb_of_many_files_is_refused(tmp_path: Path) -> None:
    """Together they count."""
    content = zipped([(f"{n}", b"\0" * 400_000) for n in range(60)])
    with pytest.raises(UploadTypeError, match="times its length"):
        tried(tmp_path, content)


def test_a_bomb_that_lies_about_its_length_is_refused(tmp_path: Path) -> None:
    """The table of contents says 10 bytes, the data says a million."""
    content = bytearray(zipped([("zeros", b"\0" * 1_000_000)]))
    at = content.rindex(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<L", 10)
    with pytest.raises(UploadTypeError):
        tried(tmp_path, bytes(content))


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    """Before the table of contents is read."""
    content = zipped([(f"{n}.py", b"") for n in range(archives.MOST_FILES + 1)])
    with pytest.raises(UploadTypeError, match="more than 5000 files"):
        tried(tmp_path, content)


def test_a_table_of_contents_that_lies_about_its_length_is_refused(tmp_path: Path) -> None:
    """It says one file; its length says a million."""
    content = bytearray(zipped([("a.py", b"x")]))
    end = content.rindex(b"PK\5\6")
    content[end + 12 : end + 16] = struct.pack("<L", 2**31)
    with pytest.raises(UploadTypeError, match="more than 5000 files"):
        tried(tmp_path, bytes(content))


def test_the_huge_form_is_refused(tmp_path: Path) -> None:
    """Its second end overrules what the first one says."""
    content = zipped([("a.py", b"x")])
    end = content.rindex(b"PK\5\6")
    second = b"PK\6\6" + struct.pack("<QHHLLQQQQ", 44, 45, 45, 0, 0, 9**8, 9**8, 9**9, 0)
    locator = b"PK\6\7" + struct.pack("<LQL", 0, end, 1)
    with pytest.raises(UploadTypeError, match="more than 5000 files"):
        tried(tmp_path, content[:end] + second + locator + content[end:])


def test_larger_than_is_taken_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what it says, whatever it packs to."""
    monkeypatch.setattr(archives, "LARGEST_BYTES", 1000)
    with pytest.raises(UploadTypeError, match="more than 1,000"):
        tried(tmp_path, zipped([("a.py", bytes(range(256)) * 8)]))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK",
        b"MZ program",
        b"PK\x05\x06",
        b"PK\x05\x06" + b"\0" * 17,
        b"PK\x05\x06" + b"\xff" * 18,
    ],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    """With our code, not with whatever a library raises."""
    with pytest.raises(UploadTypeError):
        tried(tmp_path, content)


@given(st.integers(0, 300), st.integers(0, 255))
def test_a_damaged_archive_is_refused_or_whole(
    tmp_path_factory: pytest.TempPathFactory, at: int, value: int
) -> None:
    """One byte changed anywhere: our code, or files that stay inside."""
    content = bytearray(zipped([(PROJECT, b"x" * 100), ("app/a.py", b"print()")]))
    content[at % len(content)] = value
    try:
        found = tried(tmp_path_factory.mktemp("zip"), bytes(content))
    except UploadTypeError:
        return
    assert all(is_safe(name) for name in found)


def test_the_app_may_lie_one_directory_down(tmp_path: Path) -> None:
    """As code hosts and macOS pack it."""
    for folder in ("app-main", "__MACOSX"):
        (tmp_path / folder).mkdir()
    (tmp_path / "app-main" / PROJECT).touch()
    assert app_root(tmp_path) == tmp_path / "app-main"
    (tmp_path / PROJECT).touch()
    assert app_root(tmp_path) == tmp_path
    (tmp_path / PROJECT).unlink()
    (tmp_path / "other").mkdir()
    assert app_root(tmp_path) == tmp_path
