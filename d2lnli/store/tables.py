"""Files with a row for each pair: CSV, TSV and JSON lines, gzipped or not.

The content decides, not the name: a `.txt` may hold JSON lines, and a `.csv` may have semicolons.
Rows are read one at a time, so memory does not grow with the file.
"""

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, TextIO

_SUFFIXES = (".txt", ".tsv", ".csv", ".jsonl", ".json")  # of one name, the first one is read
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)
_LONGEST_LINE = 10_000_000  # characters; a longer one is no pair, and may be too large for memory
# A field as a program encloses it, which it does only where that is needed
_ENCLOSED = re.compile(r'"(?:[^"]|"")*(?:""|[,;])(?:[^"]|"")*"|""')
_NOT_UTF8 = "not UTF-8: save the file as UTF-8"
_NO_HEADER = {
    "": "the file is empty",
    "[": "a JSON array: write one object per line",
    "sep=": "delete this line, which is for Excel alone",
}
_DOUBLE = "inside quotation marks, a quotation mark must be doubled, as spreadsheet programs do it"


def stem(path: Path) -> str:
    """Return the name of a table without `.csv`, `.csv.gz`, …; an empty string for other files."""
    suffix = _suffix(path)
    name = path.name[: -len(suffix)]
    return name if suffix.removesuffix(".gz") in _SUFFIXES and name[:1] not in (".", "~") else ""


def preference(path: Path) -> int:
    """Return a number that is smaller for the layouts that are read first."""
    return _SUFFIXES.index(_suffix(path).removesuffix(".gz"))


def _suffix(path: Path) -> str:
    """Return the last part of a name, or the last two if it is gzipped, in lower case."""
    gzipped = path.suffix.lower() == ".gz"
    return "".join(path.suffixes[-2 if gzipped else -1 :]).lower()


class Table:
    """A file with named columns; a row is a list, or for JSON lines a dict.

    Raises OSError if the file cannot be read, and ValueError, with the line, if it is not a table.
    """

    def __init__(self, path: Path, name: str | None = None):
        self.path, self.name = path, name or str(path)
        self._check_file()
        number, first = next(self._lines_with_text(), (1, ""))
        for start, problem in _NO_HEADER.items():
            if first.lstrip().startswith(start) if start else not first:
                raise ValueError(f"{self.name}, line {number}: {problem}")
        self.header_line, self._first_long, self._was_detected = number, 0, False
        self.is_json = first.lstrip().startswith("{")
        self.is_quoted, self.delimiter, self._has_spaces = False, "", False
        if self.is_json:  # an object may lack what others have
            self.columns = list(dict.fromkeys(name for _, row in self.rows() for name in row))
            return
        self.delimiter = _delimiter(first)
        self._has_spaces = f"{self.delimiter} " in first  # as people type a CSV
        header = first.rstrip("\n").split(self.delimiter)
        if self.delimiter != "\t" or any(name.startswith('"') for name in header):
            self.is_quoted = True
            _, header = next(self._quoted_rows(), (number, header))
        self.columns = [name.strip() for name in header]

    def _check_file(self) -> None:
        """Raise an error that says what this is if it is no text file."""
        if self.path.is_dir():
            raise IsADirectoryError(f"{self.name} is a folder: give one of its files")
        if not self.path.is_file():
            what = "is a pipe: save it as a file" if self.path.exists() else "is missing"
            raise FileNotFoundError(f"{self.name} {what}: give a file with a pair in each row")
        with self.path.open("rb") as file:
            if file.read(4) == b"PK\3\4":
                raise ValueError(
                    f"{self.name}, line 1: an Excel file or another archive: save the table as CSV "
                    "in UTF-8"
                )

    def getter(self, names: Iterable[str]) -> Callable[[Any], tuple]:
        """Return a function that takes these columns out of a row, as a tuple."""
        names = list(names)
        if self.is_json:
            return lambda row: tuple(row.get(name) for name in names)
        if names == self.columns:  # several may have no name, and a row may have more
            return lambda row: tuple(row[: len(names)])
        indices = [self.columns.index(name) for name in names]
        if len(indices) == 1:
            return lambda row: (row[indices[0]],)
        return itemgetter(*indices) if indices else lambda row: ()

    def rows(self, most: int | None = None, whole: bool = True) -> Iterator[tuple[int, Any]]:
        """Yield (line number, row) of each row; blank rows are left out.

        Rows must have as many columns as the header. With `most`, the first so many are enough in a
        TSV without quotes; if they need not be `whole`, the rest is not split.
        """
        if self.is_json:
            yield from self._objects()
        elif self.is_quoted:
            rows = self._quoted_rows()
            next(rows, None)  # the header
            yield from rows
        else:
            yield from self._split_rows(most, whole)

    def detect_quotes(self) -> None:
        """Find out whether quotes in a TSV enclose fields, as pandas and spreadsheets write them.

        Otherwise they belong to the sentences, as in SNLI's files. If every line has all columns,
        each field with a quote must look as such a program writes it. If not, a tab or a line break
        in quotes may be the reason: then all rows must be right when they are read in this way.
        """
        if self.is_json or self.is_quoted:
            return
        looks_quoted: set[bool] = set()
        for _, line in self._lines_with_text():
            fields = line.rstrip("\n").split("\t")
            if len(fields) != len(self.columns):
                looks_quoted = {self._is_readable_quoted()}
                break
            looks_quoted |= {bool(_ENCLOSED.fullmatch(field)) for field in fields if '"' in field}
        self.is_quoted = self._was_detected = looks_quoted == {True}

    def _is_readable_quoted(self) -> bool:
        """Return whether all rows fit the header if quotes enclose fields.

        A field with tabs and line breaks is probably several rows, and a quote that is not closed.
        """
        try:
            for _, row in self._quoted_rows():
                if any("\t" in field and "\n" in field for field in row):
                    return False
        except ValueError:
            return False
        finally:
            self._first_long = 0
        return True

    def doubts(self) -> list[str]:
        """Return what may have been understood in another way than it was meant."""
        doubts = ["quotation marks around fields taken off"] if self._was_detected else []
        if self._first_long:
            doubts.append(f"a field spans several lines, first at line {self._first_long}")
        return doubts

    def _objects(self) -> Iterator[tuple[int, dict]]:
        for number, line in self._lines_with_text():
            try:
                row = json.loads(line, object_pairs_hook=_object)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{self.name}, line {number}: not JSON ({error})") from error
            if not isinstance(row, dict):
                raise ValueError(
                    f"{self.name}, line {number}: a JSON {type(row).__name__}, not an object with "
                    "named values: write one object per line"
                )
            yield number, row

    def _split_rows(self, most: int | None, whole: bool) -> Iterator[tuple[int, list[str]]]:
        width, splits = len(self.columns), -1 if most is None or whole else most
        for number, line in self._lines():
            if number <= self.header_line or line.isspace():
                continue
            row = line.rstrip("\n").split("\t", splits)
            if len(row) < most if most else len(row) != width:
                raise self._ragged(number, len(row))
            yield number, row + [""] * (width - len(row)) if whole else row

    def _quoted_rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the header, then the rows; a field may go over several lines."""
        csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_LINE))  # for this whole process
        reader = csv.reader(
            (line for _, line in self._lines(newline="")),
            delimiter=self.delimiter,
            skipinitialspace=self._has_spaces,
            strict=True,
        )
        width = 0
        while True:
            number = reader.line_num + 1
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise ValueError(f"{self.name}, line {number}: {error}: {_DOUBLE}") from error
            if not any(map(str.strip, row)):  # spreadsheet programs write empty rows as commas
                continue
            width = width or len(row)
            if len(row) != width:
                raise self._ragged(number, len(row))
            if reader.line_num > number and not self._first_long:
                self._first_long = number
            yield number, row

    def _ragged(self, number: int, found: int) -> ValueError:
        return ValueError(
            f"{self.name}, line {number}: there are {found} columns, but the header has "
            f"{len(self.columns)}: correct that line"
        )

    def _lines_with_text(self) -> Iterator[tuple[int, str]]:
        return (numbered for numbered in self._lines() if not numbered[1].isspace())

    def _lines(self, newline: str | None = None) -> Iterator[tuple[int, str]]:
        """Yield (number, line with its end), and name the line where reading fails."""
        number = 0
        try:
            with _opened(self.path, newline=newline) as file:
                for number, line in enumerate(iter(partial(file.readline, _LONGEST_LINE), ""), 1):
                    if len(line) == _LONGEST_LINE:
                        raise ValueError(
                            f"{self.name}, line {number} has {_LONGEST_LINE:,} characters or more, "
                            "so it is not a pair: check that it is the right file"
                        )
                    if "\0" in line:  # UTF-16 without a mark at its beginning
                        raise ValueError(f"{self.name}, line {number}: {_NOT_UTF8}")
                    yield number, line
        except UnicodeDecodeError as error:
            raise ValueError(self._not_utf8()) from error
        except _DAMAGED as error:
            raise ValueError(
                f"{self.name}, line {number + 1}: the gzip file is damaged ({error}): get it again"
            ) from error

    def _not_utf8(self) -> str:
        """Return a message with the line that is not UTF-8; a decoder reads ahead and lacks it."""
        number = 0
        with suppress(*_DAMAGED), _opened(self.path, errors="surrogateescape") as file:
            for number, line in enumerate(iter(lambda: file.readline(_LONGEST_LINE), ""), 1):
                try:
                    line.encode("utf-8")
                except UnicodeEncodeError:
                    return f"{self.name}, line {number}: {_NOT_UTF8}"
        return f"{self.name}, line {number + 1}: damaged, or changed meanwhile: get it again"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


@contextmanager
def _opened(path: Path, errors: str = "strict", newline: str | None = None) -> Iterator[TextIO]:
    """Open a text file, gzipped or not."""
    with path.open("rb") as file:
        zipped = file.peek(2)[:2] == b"\x1f\x8b"
        binary = gzip.GzipFile(fileobj=file) if zipped else file
        with io.TextIOWrapper(binary, "utf-8-sig", errors, newline) as text:
            yield text


def _delimiter(header: str) -> str:
    """Return what separates the columns: a tab if there is one, else a comma or a semicolon."""
    if "\t" in header:
        return "\t"
    return ";" if header.count(";") > header.count(",") else ","
