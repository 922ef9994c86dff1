"""OLE compound files made for the tests: what Outlook and the Office programs of old write."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

SECTOR = 512
SMALL = 64
CUTOFF = 4096
FREE, END, FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD


@dataclass
class _Entry:
    name: str
    data: bytes | None = None
    children: "dict[str, _Entry]" = field(default_factory=dict)


def compound(streams: Mapping[str, bytes]) -> bytes:
    """A compound file with these streams; `/` in a name goes into a storage."""
    root = _Entry("Root Entry")
    for path, data in streams.items():
        *folders, name = path.split("/")
        parent = root
        for folder in folders:
            parent = parent.children.setdefault(folder, _Entry(folder))
        parent.children[name] = _Entry(name, data)
    return _Writer(root).written()


class _Writer:
    def __init__(self, root: _Entry) -> None:
        self._sectors: list[bytes] = []
        self._next: list[int] = []
        self._small = b""
        self._small_next: list[int] = []
        self._entries: list[_Entry] = []
        self._number(root)

    def _number(self, entry: _Entry) -> None:
        self._entries.append(entry)
        for child in entry.children.values():
            self._number(child)

    def written(self) -> bytes:
        numbers = {id(entry): i for i, entry in enumerate(self._entries)}
        siblings = {
            id(a): numbers[id(b)]
            for entry in self._entries
            for a, b in zip(list(entry.children.values()), list(entry.children.values())[1:], strict=False)
        }
        places = [self._stored(entry.data) for entry in self._entries]
        places[0] = self._chain(self._small), len(self._small)
        directory = b"".join(
            self._directory_entry(entry, place, numbers, siblings.get(id(entry), FREE), is_root=i == 0)
            for i, (entry, place) in enumerate(zip(self._entries, places, strict=True))
        )
        directory_at = self._chain(directory)
        small_fat = struct.pack(f"<{len(self._small_next)}I", *self._small_next)
        small_fat_at = self._chain(small_fat.ljust(-(-len(small_fat) // SECTOR) * SECTOR, b"\xff"))
        fat_sectors = next(n for n in range(1, 110) if n * 128 >= len(self._next) + n)
        fat_at = len(self._sectors)
        fat = [*self._next, *[FAT] * fat_sectors]
        packed = struct.pack(f"<{fat_sectors * 128}I", *fat, *[FREE] * (fat_sectors * 128 - len(fat)))
        header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<5H", 0x3E, 3, 0xFFFE, 9, 6) + bytes(6)
        header += struct.pack(
            "<9I", 0, fat_sectors, directory_at, 0, CUTOFF, small_fat_at, len(small_fat) // 512 + 1, END, 0
        )
        header += struct.pack("<109I", *range(fat_at, fat_at + fat_sectors), *[FREE] * (109 - fat_sectors))
        return header + b"".join(self._sectors) + packed

    def _directory_entry(
        self, entry: _Entry, place: tuple[int, int], numbers: Mapping[int, int], sibling: int, *, is_root: bool
    ) -> bytes:
        name = entry.name.encode("utf-16-le")
        kind = 5 if is_root else 1 if entry.data is None else 2
        child = next((numbers[id(child)] for child in entry.children.values()), FREE)
        return (
            name.ljust(64, b"\0")
            + struct.pack("<HBBIII", len(name) + 2, kind, 1, FREE, sibling, child)
            + bytes(36)
            + struct.pack("<IQ", *place)
        )

    def _stored(self, data: bytes | None) -> tuple[int, int]:
        if data is None or not data:
            return (0 if data is None else END), 0
        if len(data) >= CUTOFF:
            return self._chain(data), len(data)
        start = len(self._small_next)
        count = -(-len(data) // SMALL)
        self._small += data.ljust(count * SMALL, b"\0")
        self._small_next += [*range(start + 1, start + count), END]
        return start, len(data)

    def _chain(self, data: bytes) -> int:
        if not data:
            return END
        start = len(self._sectors)
        self._sectors += [data[i : i + SECTOR].ljust(SECTOR, b"\0") for i in range(0, len(data), SECTOR)]
        self._next += [*range(start + 1, len(self._sectors)), END]
        return start
