"""The ids of the pieces of a vocabulary, which several files of a folder may list."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..vocab import spare_piece


class PieceIds:
    """Pieces and their ids: rows of a word embedding, of which some may have no piece."""

    def __init__(self, num_rows: int):
        self.num_rows = num_rows
        self.ids: dict[str, int] = {}

    def add(self, more: Iterable[tuple[Any, Any]], path: Path) -> None:
        """Add pieces with their ids, which a file lists.

        Raises ValueError if a piece gets two ids, an id two pieces, or if there is no such row.
        """
        taken = {i: piece for piece, i in self.ids.items()}
        for piece, i in more:
            if piece == "":  # of an empty line
                continue
            if not isinstance(piece, str) or type(i) is not int or i < 0:
                raise ValueError(
                    f"{path}: the piece {piece!r} has the id {i!r}, but ids are numbers from 0: "
                    "fetch it again"
                )
            if (own := self.ids.setdefault(piece, i)) != i or taken.setdefault(i, piece) != piece:
                other = f"{own} elsewhere" if own != i else f"that is {taken[i]!r}"
                raise ValueError(
                    f"{path}: the piece {piece!r} has the id {i}, but {other}: fetch all files of "
                    "the tokenizer again"
                )
        if (most := max(self.ids.values(), default=-1)) >= self.num_rows:
            raise ValueError(
                f"{path}: there are {len(self.ids)} words with ids up to {most}, but the word "
                f"embedding has {self.num_rows} rows: the two files belong to different checkpoints"
            )

    def id_of(self, piece: str) -> int:
        """Return the id of a piece; of a new one, the next free one."""
        return self.ids.get(piece, max(self.ids.values(), default=-1) + 1)

    def in_order(self) -> list[str]:
        """Return the piece of each row; a row without one gets a name."""
        pieces = [spare_piece(i) for i in range(self.num_rows)]
        for piece, i in self.ids.items():
            pieces[i] = piece
        return pieces
