"""A project on disk: images in a folder, and what is in them in an SQLite database beside it.

Nothing that was accepted is overwritten: each save of an image is a new version with all of its objects, its author and its
time. A save names the version that it started from; where another came in between, it is refused, so that two people, or two
tabs, lose nothing. A save that was answered is on the disk (write-ahead log, fully synchronised).
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from maskrcnn.atomic import write_whole
from maskrcnn.geometry.rle import rle_area, rle_from_json, rle_to_box

DATABASE = "project.sqlite"
IMAGES = "images"
HELD_OUT_EVERY = 5  # each so-manieth image is not trained on, but scored
State = Literal["proposed", "corrected"]

_MIGRATIONS = (
    """
    CREATE TABLE classes (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
    CREATE TABLE images (
        id INTEGER PRIMARY KEY,
        file TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        height INTEGER NOT NULL CHECK (height > 0),
        width INTEGER NOT NULL CHECK (width > 0),
        held_out INTEGER NOT NULL CHECK (held_out IN (0, 1)),
        features TEXT NOT NULL,
        added REAL NOT NULL
    );
    CREATE TABLE versions (
        id INTEGER PRIMARY KEY,
        image_id INTEGER NOT NULL REFERENCES images (id),
        number INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('proposed', 'corrected')),
        author TEXT NOT NULL,
        saved REAL NOT NULL,
        UNIQUE (image_id, number)
    );
    CREATE TABLE objects (
        version_id INTEGER NOT NULL REFERENCES versions (id),
        number INTEGER NOT NULL,
        class_id INTEGER NOT NULL REFERENCES classes (id),
        score REAL CHECK (score BETWEEN 0 AND 1),
        source TEXT NOT NULL CHECK (source IN ('model', 'person')),
        counts TEXT NOT NULL,
        PRIMARY KEY (version_id, number)
    ) WITHOUT ROWID;
    """,
    "CREATE TABLE runs (number INTEGER PRIMARY KEY, started REAL NOT NULL, scores TEXT NOT NULL, used INTEGER NOT NULL);",
    """
    CREATE TABLE videos (
        id INTEGER PRIMARY KEY, file TEXT NOT NULL UNIQUE, name TEXT NOT NULL, frames INTEGER NOT NULL, added REAL NOT NULL
    );
    CREATE TABLE identities (
        video_id INTEGER NOT NULL REFERENCES videos (id),
        number INTEGER NOT NULL,
        frame INTEGER NOT NULL,
        identity INTEGER NOT NULL,
        other INTEGER NOT NULL CHECK (other != identity),
        author TEXT NOT NULL,
        saved REAL NOT NULL,
        PRIMARY KEY (video_id, number)
    ) WITHOUT ROWID;
    """,
)


class ConflictError(Exception):
    """Somebody else has saved the image, or the video, meanwhile.

    Attributes:
        version: the newest.
        author: who saved it.
    """

    def __init__(self, version: int, author: str) -> None:
        super().__init__(f"{author or 'Somebody'} has saved version {version} of this meanwhile.")
        self.version, self.author = version, author


class StoredImage(NamedTuple):
    """An image of a project, with what its newest version says."""

    id: int
    file: str  # its name in the folder `images`
    name: str  # as the person called it
    height: int
    width: int
    held_out: bool
    features: list[float]  # what tells images apart, see `ordering`
    version: int
    state: State
    author: str
    saved: float  # seconds since 1970
    num_objects: int


class StoredObject(NamedTuple):
    """An object of a version."""

    class_name: str
    score: float | None  # of the model; None where a person drew it
    source: Literal["model", "person"]
    counts: str  # of its COCO RLE


class Store:
    """An open project. Any number of threads, and of processes, may use one folder at the same time.

    Args:
        folder: made where it is not there.
        class_names: of the model; a project keeps its own, and takes new ones of a model.

    Raises:
        ValueError: the folder's database was written by a newer version, or is none; one line.
    """

    def __init__(self, folder: Path, class_names: Sequence[str]) -> None:
        self.folder = folder
        (folder / IMAGES).mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        try:
            self._database = sqlite3.connect(folder / DATABASE, isolation_level=None, check_same_thread=False, timeout=30)
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                self._database.execute(f"PRAGMA {pragma}")
            self._migrate()
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{folder / DATABASE} is no project of maskrcnn: {error}.") from None
        with self.transaction() as database:
            database.executemany("INSERT OR IGNORE INTO classes (name) VALUES (?)", [(name,) for name in class_names])

    def close(self) -> None:
        self._database.close()

    def class_names(self) -> list[str]:
        """In the order of their numbers."""
        return [name for (name,) in self.rows("SELECT name FROM classes ORDER BY id")]

    def add_class(self, name: str) -> None:
        with self.transaction() as database:
            database.execute("INSERT OR IGNORE INTO classes (name) VALUES (?)", (name,))

    def add_image(
        self, name: str, data: bytes, suffix: str, size: tuple[int, int], features: Sequence[float]
    ) -> tuple[int, bool]:
        """An image's id, and whether it is a new one: the same file is kept once.

        Args:
            name: for people.
            data: the file.
            suffix: of the format that was found in it.
            size: (height, width).
            features: see `ordering`.
        """
        file = f"{hashlib.sha256(data).hexdigest()[:24]}{suffix}"
        path = self.folder / IMAGES / file
        if not path.exists():
            write_whole(path, lambda target: target.write(data))
        with self.transaction() as database:
            known = database.execute("SELECT id FROM images WHERE file = ?", (file,)).fetchone()
            if known:
                return known[0], False
            count = database.execute("SELECT COUNT(*) FROM images").fetchone()[0]
            held_out = count % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
            row = (file, name, *size, held_out, json.dumps(list(features)), time.time())
            added = database.execute(
                "INSERT INTO images (file, name, height, width, held_out, features, added) VALUES (?, ?, ?, ?, ?, ?, ?)", row
            )
            return int(added.lastrowid or 0), True

    def images(self) -> list[StoredImage]:
        return [_image(row) for row in self.rows(_IMAGES_QUERY.format(where="", order="ORDER BY images.id"))]

    def image(self, number: int) -> StoredImage:
        """One of them.

        Raises:
            KeyError: there is none of this id.
        """
        for row in self.rows(_IMAGES_QUERY.format(where="WHERE images.id = ?", order=""), (number,)):
            return _image(row)
        raise KeyError(number)

    def path_of(self, image: StoredImage) -> Path:
        return self.folder / IMAGES / image.file

    def objects(self, number: int, version: int | None = None) -> list[StoredObject]:
        """The objects of an image's version, the newest where None."""
        rows = self.rows(
            "SELECT classes.name, score, source, counts FROM objects JOIN classes ON classes.id = class_id "
            "JOIN versions ON versions.id = version_id WHERE image_id = ? AND versions.number = "
            "COALESCE(?, (SELECT MAX(number) FROM versions WHERE image_id = ?)) ORDER BY objects.number",
            (number, version, number),
        )
        return [StoredObject(*row) for row in rows]

    def history(self, number: int) -> list[dict[str, Any]]:
        """Who saved which version of an image when, the newest first."""
        rows = self.rows(
            "SELECT versions.number, state, author, saved, COUNT(objects.number) FROM versions "
            "LEFT JOIN objects ON version_id = versions.id WHERE image_id = ? GROUP BY versions.id "
            "ORDER BY versions.number DESC",
            (number,),
        )
        return [dict(zip(("version", "state", "author", "saved", "objects"), row)) for row in rows]

    def save(self, number: int, objects: Sequence[StoredObject], *, based_on: int, state: State, author: str) -> int:
        """A new version of an image.

        Args:
            objects: all of them.
            based_on: the version that they were made from; 0 for the first.
            state: whether a person says that it is right.
            author: who.

        Returns:
            Its number.

        Raises:
            KeyError: there is no such image, or no such class.
            ValueError: a mask that does not fit the image, or is empty.
            ConflictError: a newer version is there.
        """
        image = self.image(number)
        for item in objects:
            rle = rle_from_json({"size": [image.height, image.width], "counts": item.counts}, (image.height, image.width))
            if not rle_area(rle):
                raise ValueError("An object has at least one pixel; received an empty mask.")
        with self.transaction() as database:
            newest = database.execute(
                "SELECT number, author FROM versions WHERE image_id = ? ORDER BY number DESC LIMIT 1", (number,)
            ).fetchone() or (0, "")
            if newest[0] != based_on:
                raise ConflictError(*newest)
            classes = dict(database.execute("SELECT name, id FROM classes"))
            version = database.execute(
                "INSERT INTO versions (image_id, number, state, author, saved) VALUES (?, ?, ?, ?, ?)",
                (number, based_on + 1, state, author, time.time()),
            ).lastrowid
            rows = [
                (version, place, classes[item.class_name], item.score, item.source, item.counts)
                for place, item in enumerate(objects)
            ]
            database.executemany("INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?)", rows)
        return based_on + 1

    def as_coco(self, *, held_out: bool | None = None, state: State = "corrected") -> dict[str, Any]:
        """The images in a state as a COCO data set.

        Args:
            held_out: only those that are scored, or only those that are trained on; all where None.
        """
        names = self.class_names()
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for image in self.images():
            if image.state != state or held_out not in (None, image.held_out) or not image.version:
                continue
            size = [image.height, image.width]
            images.append({"id": image.id, "file_name": image.file, "height": image.height, "width": image.width})
            for item in self.objects(image.id):
                rle = rle_from_json({"size": size, "counts": item.counts}, (image.height, image.width))
                left, top, right, bottom = rle_to_box(rle).tolist()
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image.id,
                        "category_id": names.index(item.class_name) + 1,
                        "bbox": [left, top, right - left, bottom - top],
                        "area": rle_area(rle),
                        "iscrowd": 0,
                        "segmentation": {"size": size, "counts": item.counts},
                    }
                )
        categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
        return {"images": images, "annotations": annotations, "categories": categories}

    def add_run(self) -> int:
        """The number of a new training."""
        with self.transaction() as database:
            database.execute("INSERT INTO runs (started, scores, used) VALUES (?, '{}', 0)", (time.time(),))
            return int(database.execute("SELECT MAX(number) FROM runs").fetchone()[0])

    def set_run(self, number: int, *, scores: dict[str, Any] | None = None, used: bool | None = None) -> None:
        with self.transaction() as database:
            if scores is not None:
                database.execute("UPDATE runs SET scores = ? WHERE number = ?", (json.dumps(scores), number))
            if used is not None:
                database.execute("UPDATE runs SET used = (number = ?)", (number if used else -1,))

    def runs(self) -> list[dict[str, Any]]:
        """Every training, the newest first."""
        rows = self.rows("SELECT number, started, scores, used FROM runs ORDER BY number DESC")
        return [{"number": row[0], "started": row[1], "scores": json.loads(row[2]), "used": bool(row[3])} for row in rows]

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What a query of the database finds."""
        with self._lock:
            return self._database.execute(query, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it, or nothing."""
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    def _migrate(self) -> None:
        with self.transaction() as database:
            done = database.execute("PRAGMA user_version").fetchone()[0]
            if done > len(_MIGRATIONS):
                raise ValueError(f"{self.folder / DATABASE} was written by a newer maskrcnn; update this one.")
            for number, script in enumerate(_MIGRATIONS[done:], start=done + 1):
                for statement in filter(str.strip, script.split(";")):
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {number}")


_IMAGES_QUERY = """
    SELECT images.id, file, name, height, width, held_out, features, COALESCE(versions.number, 0),
        COALESCE(versions.state, 'proposed'), COALESCE(versions.author, ''), COALESCE(versions.saved, added),
        (SELECT COUNT(*) FROM objects WHERE version_id = versions.id)
    FROM images LEFT JOIN versions ON versions.image_id = images.id
        AND versions.number = (SELECT MAX(number) FROM versions WHERE image_id = images.id)
    {where} {order}
"""


def _image(row: tuple[Any, ...]) -> StoredImage:
    return StoredImage._make((*row[:5], bool(row[5]), json.loads(row[6]), *row[7:]))


def box_of(item: StoredObject, size: tuple[int, int]) -> np.ndarray:
    """(4,) float32 xyxy around an object's mask."""
    return rle_to_box(rle_from_json({"size": list(size), "counts": item.counts}, size))
