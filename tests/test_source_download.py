"""Downloads against a real server on this machine: breaks, resuming, checksums, hostile archives."""

import hashlib
import http.server
import io
import json
import re
import stat
import threading
import zipfile

import pytest

from medleyrec.schema import InputError
from medleyrec.sources import archive, transfer
from medleyrec.sources.archive import unpack
from medleyrec.sources.download import AMAZON_PREFIX, PUBLISHED, RECORD, Published, fetch, published
from tests.test_source_assembly import events, ml
from tests.test_source_movielens import ML_1M


def zipped(files, top="ml-1m/"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr(top, "") if top else None
        for name, content in files.items():
            made.writestr(f"{top}{name}", content)
    return buffer.getvalue()


ARCHIVE = zipped(ML_1M | {"README": bytes(hashlib.sha256(bytes([n])).digest()[0] for n in range(256)) * 4000})


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`; `cut` is how many bytes of a body are sent before the line breaks, once for each entry."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cut, self.ranges, self.asked, self.tag = {}, [], True, [], '"v1"'

    def address(self, name):
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"

    def handle_error(self, request, client_address):
        """A client that hangs up is no news."""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, name = self.server, self.path.lstrip("/")
        server.asked.append((name, self.headers.get("Range")))
        if name not in server.files:
            return self.send_error(404)
        body, start = server.files[name], self._start()
        if start >= len(body):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.send_header("ETag", server.tag)
        self.end_headers()
        cut = server.cut.pop(0) if server.cut and name.endswith((".zip", ".gz")) else None
        self.wfile.write(body[start:][:cut])
        return None

    def _start(self):
        found = re.match(r"bytes=(\d+)-", self.headers.get("Range") or "")
        fresh = self.headers.get("If-Range") == self.server.tag
        return int(found[1]) if found and fresh and self.server.ranges else 0

    def log_message(self, *args):
        """Quiet."""


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def site(server):
    """ml-1m and its checksum, as GroupLens publishes them."""
    md5 = hashlib.md5(ARCHIVE).hexdigest()
    server.files = {"ml-1m.zip": ARCHIVE, "ml-1m.zip.md5": f"MD5 (ml-1m.zip) = {md5}\n".encode()}
    return server


def get(server, folder, progress=None, *, checksum=True):
    what = Published(kind="movielens", addresses=(server.address("ml-1m.zip"),), checksum=checksum, terms="cite it")
    return fetch("ml-1m", folder, progress, lookup=lambda name: what)


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_fetched_verified_unpacked_and_read(site, tmp_path):
    seen = []
    found = get(site, tmp_path / "data", lambda *told: seen.append(told))
    assert found.folder == tmp_path / "data" / "ml-1m"
    assert names(found.folder) == sorted([*ML_1M, "README", RECORD])
    assert names(tmp_path / "data") == ["ml-1m"]
    assert found.notes == ("ml-1m.zip: the published MD5 was verified", "ml-1m: cite it")
    assert seen[-1] == ("ml-1m.zip", len(ARCHIVE), len(ARCHIVE))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    assert len(events(ml(found.folder))) == 3
    (record,) = json.loads((found.folder / RECORD).read_text())
    assert (record["bytes"], record["sha256"]) == (len(ARCHIVE), hashlib.sha256(ARCHIVE).hexdigest())


def test_a_finished_set_is_not_fetched_again(site, tmp_path):
    get(site, tmp_path)
    asked = len(site.asked)
    assert get(site, tmp_path).notes == (f"{tmp_path / 'ml-1m'} is there already",)
    assert len(site.asked) == asked


def test_a_break_is_followed_by_the_rest(site, tmp_path):
    site.cut = [100, 50]
    assert get(site, tmp_path).folder.is_dir()
    assert [wanted for name, wanted in site.asked if name == "ml-1m.zip"] == [None, "bytes=100-", "bytes=150-"]


def test_a_server_that_sends_nothing_more_is_left_until_the_next_call(site, tmp_path):
    site.cut = [100, 0]
    with pytest.raises(
        InputError, match=r"ml-1m\.zip broke off after 100 bytes .*fetch it again, it goes on from there"
    ):
        get(site, tmp_path)
    assert not (tmp_path / "ml-1m").exists()
    site.asked.clear()
    get(site, tmp_path)
    assert site.asked[0] == ("ml-1m.zip", "bytes=100-")
    assert names(tmp_path) == ["ml-1m"]


def test_a_file_that_changed_in_between_is_fetched_from_its_beginning(site, tmp_path):
    site.files["ml-1m.zip"] = bytes(len(ARCHIVE))
    site.cut = [100, 0]
    with pytest.raises(InputError, match="broke off"):
        get(site, tmp_path)
    site.files["ml-1m.zip"], site.tag = ARCHIVE, '"v2"'
    assert "verified" in get(site, tmp_path).notes[0]


def test_a_server_without_ranges_starts_anew(site, tmp_path):
    site.ranges, site.cut = False, [100]
    assert "verified" in get(site, tmp_path).notes[0]


def test_a_partial_file_that_is_already_whole(site, tmp_path):
    """Killed between the last byte and the renaming: the server has nothing to add (416)."""
    arriving = tmp_path / ".ml-1m.fetching"
    arriving.mkdir()
    (arriving / "ml-1m.zip.partial").write_bytes(ARCHIVE)
    (arriving / "ml-1m.zip.partial.json").write_text(json.dumps({"tag": site.tag}))
    assert "verified" in get(site, tmp_path).notes[0]


def test_a_wrong_checksum_is_refused_and_the_file_is_deleted(site, tmp_path):
    site.files["ml-1m.zip"] = zipped({"ratings.dat": "1::1::5::5\n"})
    with pytest.raises(
        InputError, match=f"the checksum is .*, but .*md5 says {hashlib.md5(ARCHIVE).hexdigest()}; it was"
    ):
        get(site, tmp_path)
    assert not (tmp_path / "ml-1m").exists()
    site.files["ml-1m.zip"] = ARCHIVE
    assert "verified" in get(site, tmp_path).notes[0]


@pytest.mark.parametrize("checksum", [True, False])
def test_without_a_published_checksum_nothing_is_called_verified(site, tmp_path, checksum):
    del site.files["ml-1m.zip.md5"]
    note = get(site, tmp_path, checksum=checksum).notes[0]
    assert "not verified" in note
    assert hashlib.sha256(ARCHIVE).hexdigest() in note


def test_what_is_not_there(site, tmp_path):
    site.files.clear()
    with pytest.raises(InputError, match=r"ml-1m\.zip answers 404 .*; check the name"):
        get(site, tmp_path)
    site.shutdown()
    site.server_close()
    with pytest.raises(InputError, match=r"ml-1m\.zip cannot be reached"):
        get(site, tmp_path)


def test_a_folder_that_is_no_download_is_left_alone(site, tmp_path):
    (tmp_path / "ml-1m").mkdir()
    (tmp_path / "ml-1m" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="exists but was not finished by a download"):
        get(site, tmp_path)
    assert names(tmp_path / "ml-1m") == ["mine.txt"]
    assert site.asked == []


def test_a_file_of_that_name_beside_it_is_left_alone(site, tmp_path):
    (tmp_path / "ml-1m.zip").write_text("mine")
    get(site, tmp_path)
    assert (tmp_path / "ml-1m.zip").read_text() == "mine"


def test_several_files_without_an_archive(server, tmp_path):
    server.files = {"A.jsonl.gz": b"reviews", "meta_A.jsonl.gz": b"items"}
    what = Published(kind="amazon", addresses=tuple(map(server.address, server.files)))
    found = fetch("amazon-2023/A", tmp_path, lookup=lambda name: what)
    assert found.folder == tmp_path / "amazon-2023-A"
    assert names(found.folder) == ["A.jsonl.gz", RECORD, "meta_A.jsonl.gz"]
    assert (found.folder / "meta_A.jsonl.gz").read_bytes() == b"items"


def test_a_full_disk_is_said_before_anything_is_written(site, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "_SPARE", 1 << 60)
    with pytest.raises(InputError, match=r"ml-1m\.zip needs [\d,]+ bytes, but .* free; choose another disk"):
        get(site, tmp_path)


def test_only_the_web_is_asked(tmp_path):
    what = Published(kind="movielens", addresses=((tmp_path / "x.zip").as_uri(),))
    with pytest.raises(InputError, match="is no web address; it must begin with https://"):
        fetch("x", tmp_path, lookup=lambda name: what)


def test_the_names_that_are_known():
    assert set(PUBLISHED) == {"ml-100k", "ml-1m", "ml-20m", "ml-25m", "ml-32m", "ml-latest-small"}
    for name, what in PUBLISHED.items():
        assert what.addresses == (f"https://files.grouplens.org/datasets/movielens/{name}.zip",)
        assert what.checksum
    reviews, metadata = published(f"{AMAZON_PREFIX}All_Beauty").addresses
    assert reviews.endswith("/raw/review_categories/All_Beauty.jsonl.gz")
    assert metadata.endswith("/raw/meta_categories/meta_All_Beauty.jsonl.gz")


@pytest.mark.parametrize("name", ["ml-2m", "", "amazon-2023/", "amazon-2023/../x", "amazon-2023/a?b", "All_Beauty"])
def test_the_names_that_are_not(tmp_path, name):
    with pytest.raises(InputError, match="no data set is known by the name .*; there are: ml-100k, .*All_Beauty"):
        fetch(name, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def packed(tmp_path, data):
    path = tmp_path / "x.zip"
    path.write_bytes(data)
    (tmp_path / "out").mkdir(exist_ok=True)
    return path


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "\\evil", "C:/evil", "C:\\evil", "..\\evil"])
def test_no_member_leaves_the_folder(tmp_path, name):
    path = packed(tmp_path, zipped({"ok": "1", name: "evil"}, top=""))
    with pytest.raises(InputError, match="leads out of its folder; it was not unpacked"):
        unpack(path, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    assert names(tmp_path) == ["out", "x.zip"]


def test_links_are_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr(link, "/etc/passwd")
    with pytest.raises(InputError, match="holds the link 'link'"):
        unpack(packed(tmp_path, buffer.getvalue()), tmp_path / "out")


def test_bombs_are_refused_before_a_byte_is_written(tmp_path):
    bomb = zipped({"zeros": bytes(archive._RATIO * 20_000)})
    with pytest.raises(InputError, match="would unpack to 4,000,000 bytes, more than it plausibly holds"):
        unpack(packed(tmp_path, bomb), tmp_path / "out")
    with pytest.raises(InputError, match="would unpack to 11 bytes"):
        unpack(packed(tmp_path, zipped({"a": "hello world"})), tmp_path / "out", limit=10)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    "data", [b"", b"PK\3\4 no zip", zipped({}), ARCHIVE[:-400], ARCHIVE[:5000] + b"x" + ARCHIVE[5001:]]
)
def test_broken_archives(tmp_path, data):
    with pytest.raises(InputError, match=r"^x\.zip (cannot be unpacked|holds no file)"):
        unpack(packed(tmp_path, data), tmp_path / "out")


def test_the_common_folder_goes_only_where_there_is_one(tmp_path):
    unpack(packed(tmp_path, zipped({"a": "1", "deep/b": "2"}, top="ml/")), tmp_path / "out")
    assert sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*")) == [
        "a",
        "deep",
        "deep/b",
    ]
    (tmp_path / "two").mkdir()
    unpack(packed(tmp_path, zipped({"a": "1", "deep/b": "2"}, top="")), tmp_path / "two")
    assert (tmp_path / "two" / "deep" / "b").read_text() == "2"
