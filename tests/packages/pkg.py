"""Takes a macOS package apart and prints what is in it as JSON: pkg.py FOLDER, into which bsdtar has unpacked it.

Written from the formats' descriptions (cpio's "odc" form, Apple's bill of materials), not from what makes the package.
"""

import gzip
import json
import pathlib
import struct
import sys


def payload(packed):
    """Each entry: path, mode, owner, group, size, checksum."""
    data, at, entries = gzip.decompress(packed), 0, []
    while True:
        head = data[at : at + 76]
        assert head[:6] == b"070707", f"no entry at {at}"
        mode, owner, group = (int(head[i : i + 6], 8) for i in (18, 24, 30))
        name_size, size = int(head[59:65], 8), int(head[65:76], 8)
        name = data[at + 76 : at + 76 + name_size - 1].decode()
        at += 76 + name_size
        if name == "TRAILER!!!":
            return entries
        content = data[at : at + size]
        at += size
        is_file = mode & 0o170000 == 0o100000
        entries.append([name, mode, owner, group, size if is_file else 0, cksum(content) if is_file else 0])


def cksum(content):
    """POSIX cksum."""
    crc = 0
    length, tail = len(content), b""
    while length:
        tail += bytes([length & 0xFF])
        length >>= 8
    for byte in content + tail:
        crc = ((crc << 8) & 0xFFFFFFFF) ^ TABLE[(crc >> 24) ^ byte]
    return crc ^ 0xFFFFFFFF


def row(index):
    value = index << 24
    for _ in range(8):
        value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
    return value & 0xFFFFFFFF


TABLE = [row(index) for index in range(256)]


def bill(data):
    """Each path that the bill of materials names, as `payload` gives it."""
    assert data[:8] == b"BOMStore"
    _, _, index, _, names, _ = struct.unpack(">6I", data[8:32])
    count = struct.unpack(">I", data[index : index + 4])[0]
    places = [struct.unpack(">2I", data[index + 4 + 8 * i : index + 12 + 8 * i]) for i in range(count)]

    def block(number):
        start, length = places[number]
        return data[start : start + length]

    named, at = {}, names + 4
    for _ in range(struct.unpack(">I", data[names : names + 4])[0]):
        number, length = struct.unpack(">IB", data[at : at + 5])
        named[data[at + 5 : at + 5 + length].decode()] = number
        at += 5 + length
    tree = block(named["Paths"])
    assert tree[:4] == b"tree"
    root, _, said = struct.unpack(">3I", tree[8:20])
    node = root
    while not struct.unpack(">H", block(node)[:2])[0]:
        node = struct.unpack(">I", block(node)[12:16])[0]
    entries, parents = [], {}
    while node:
        content = block(node)
        _, count, following, _ = struct.unpack(">2H2I", content[:12])
        for i in range(count):
            about, file = struct.unpack(">2I", content[12 + 8 * i : 20 + 8 * i])
            number, details = struct.unpack(">2I", block(about)[:8])
            parent = struct.unpack(">I", block(file)[:4])[0]
            name = block(file)[4:].split(b"\0")[0].decode()
            parents[number] = (parent, name)
            kind, _, _, mode, owner, group, _, size, _, sum_ = struct.unpack(">BBHHIIIIBI", block(details)[:27])
            is_file = kind == 1
            entries.append([path(number, parents), mode, owner, group, size if is_file else 0, sum_ if is_file else 0])
        node = following
    assert len(entries) == said, f"{said} paths are said to be in it, {len(entries)} are"
    return entries


def path(number, parents):
    parts = []
    while number in parents:
        number, name = parents[number]
        parts.append(name)
    return "/".join(reversed(parts))


folder = pathlib.Path(sys.argv[1]) / "gatepass.pkg"
json.dump(
    {"payload": payload((folder / "Payload").read_bytes()), "bill": bill((folder / "Bom").read_bytes())},
    sys.stdout,
)
