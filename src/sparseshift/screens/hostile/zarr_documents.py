"""What is hostile in the JSON documents of a zarr store: codecs, types, sizes, names.

One rule for both formats: a codec must be known to hold nothing but numbers and strings.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, TypeGuard

from sparseshift.screens.hostile.shapes import ATTRIBUTES, Declared, array_size

DOCUMENTS = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
LARGEST = 16 * 2**20  # bytes of a document

STRING_CODECS = {"vlen-utf8", "vlen-bytes"}
# Formats 2 and 3. Not pickle, which runs code, nor what makes objects: json2, msgpack2, vlen-array.
PLAIN_CODECS = STRING_CODECS | {
    *("adler32", "astype", "base64", "bitround", "blosc", "bytes", "bz2", "crc32", "crc32c"),
    *("delta", "endian", "fixedscaleoffset", "fletcher32", "gzip", "jenkins_lookup3", "lz4"),
    *("lzma", "packbits", "pcodec", "quantize", "sharding_indexed", "shuffle", "transpose"),
    *("zfpy", "zlib", "zstd"),
}
_VARIABLE_TYPES = {"string", "variable_length_utf8", "bytes", "variable_length_bytes"}
_POINTER = 16  # bytes, of a string of any length


@dataclass
class Judgement:
    """What a document says of one array or group.

    Attributes:
        where: The array or group.
        faults: What is hostile, in words.
        declared: Its shape and size, or its attributes.
    """

    where: str
    faults: list[str] = field(default_factory=list)
    declared: Declared = field(default_factory=Declared)


def judge(where: str, name: str, content: bytes) -> Iterator[Judgement]:
    """Judge a document, and those of other arrays and groups that it repeats (is consolidated of).

    Args:
        where: Array or group that it belongs to.
        name: One of DOCUMENTS.
        content: Of the file.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        yield Judgement(where, [f"{name} is not JSON ({error})"])
        return
    yield from _judge(where, name, document)


def _judge(where: str, name: str, document: Any) -> Iterator[Judgement]:
    if not isinstance(document, dict):
        yield Judgement(where, [f"{name} is not a JSON object"])
        return
    if name == ".zmetadata":
        yield from _judge_members(where, document.get("metadata"))
    elif name == ".zattrs":
        yield Judgement(where, declared=_group(document))
    elif name == ".zarray":
        yield _judge_array_2(where, document)
    elif name == "zarr.json":
        yield from _judge_node_3(where, document)


def _judge_members(where: str, members: Any) -> Iterator[Judgement]:
    if not isinstance(members, dict):
        yield Judgement(where, ["consolidated metadata is not a JSON object"])
        return
    for path, document in members.items():
        parts = PurePosixPath(path.replace("\\", "/")).parts
        if ".." in parts or "/" in parts:
            yield Judgement(where, [f"consolidated metadata name {path!r}, outside the store"])
            continue
        # Format 2 names documents (X/.zarray), format 3 the arrays and groups themselves (X).
        old = parts[-1:] and parts[-1] in DOCUMENTS
        folder, name = (parts[:-1], parts[-1]) if old else (parts, "zarr.json")
        yield from _judge("/".join((where, *folder)).strip("/"), name, document)


def _judge_node_3(where: str, document: dict[str, Any]) -> Iterator[Judgement]:
    if document.get("node_type") == "array":
        yield _judge_array_3(where, document)
        return
    yield Judgement(where, declared=_group(document.get("attributes")))
    consolidated = document.get("consolidated_metadata")
    if isinstance(consolidated, dict):
        yield from _judge_members(where, consolidated.get("metadata"))


def _judge_array_2(where: str, document: dict[str, Any]) -> Judgement:
    import numpy as np

    filters = document.get("filters") or []
    codecs = [*(filters if isinstance(filters, list) else [filters]), document.get("compressor")]
    names = [_name(codec, "id") for codec in codecs if codec is not None]
    faults = _codec_faults(names)
    try:
        kind = np.dtype(_numpy_form(document.get("dtype")))
    except (TypeError, ValueError, SyntaxError) as error:
        return Judgement(where, [*faults, f"unknown type {document.get('dtype')!r} ({error})"])
    if kind.hasobject and not (kind.names is None and STRING_CODECS & set(names)):
        faults.append(f"the type {document['dtype']!r}: Python objects that are no strings")
    return _sized(where, faults, document, document.get("chunks"), kind.itemsize)


def _judge_array_3(where: str, document: dict[str, Any]) -> Judgement:
    names = list(_names_3(document.get("codecs")))
    grid = document.get("chunk_grid")
    configuration = grid.get("configuration") if isinstance(grid, dict) else None
    chunks = configuration.get("chunk_shape") if isinstance(configuration, dict) else None
    itemsize = _itemsize_3(document.get("data_type"))
    return _sized(where, _codec_faults(names), document, chunks, itemsize)


def _sized(
    where: str, faults: list[str], document: dict[str, Any], chunks: Any, itemsize: int
) -> Judgement:
    shape = document.get("shape")
    if not (_is_shape(shape) and _is_shape(chunks)):
        return Judgement(where, [*faults, f"shape {shape!r} in chunks of {chunks!r}"])
    size = array_size(tuple(shape), tuple(chunks), itemsize)
    return Judgement(where, faults, Declared(tuple(shape), size))


def _is_shape(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)


def _codec_faults(names: list[str]) -> list[str]:
    strangers = [n for n in names if n.removeprefix("numcodecs.") not in PLAIN_CODECS]
    return [f"the codec {name!r}, which is not one of plain data" for name in strangers]


def _names_3(codecs: Any) -> Iterator[str]:
    for codec in codecs if isinstance(codecs, list) else [codecs]:
        yield _name(codec, "name")
        # Shards hold chunks that have codecs of their own.
        configuration = codec.get("configuration") if isinstance(codec, dict) else None
        for inner in ("codecs", "index_codecs"):
            if isinstance(configuration, dict) and inner in configuration:
                yield from _names_3(configuration[inner])


def _name(codec: Any, key: str) -> str:
    return str(codec.get(key) if isinstance(codec, dict) else codec)


def _numpy_form(dtype: Any) -> Any:
    if isinstance(dtype, str):
        return dtype
    # A record: [[name, type], [name, type, shape], ...]
    if not (isinstance(dtype, list) and all(isinstance(member, list) for member in dtype)):
        raise ValueError("neither text nor a record")
    return [(name, _numpy_form(member), *map(tuple, shape)) for name, member, *shape in dtype]


def _itemsize_3(data_type: Any) -> int:
    import numpy as np

    name = _name(data_type, "name")
    configuration = data_type.get("configuration") if isinstance(data_type, dict) else None
    if isinstance(configuration, dict):
        if type(length := configuration.get("length_bytes")) is int:
            return max(length, 0)
        if isinstance(members := configuration.get("fields"), list):
            return sum(_itemsize_3(m[1]) for m in members if isinstance(m, list) and len(m) > 1)
    if bits := re.fullmatch(r"r(\d{1,18})", name):
        return int(bits[1]) // 8
    try:
        return _POINTER if name in _VARIABLE_TYPES else np.dtype(name).itemsize
    except (TypeError, ValueError, SyntaxError):  # zarr will say that it does not know it
        return _POINTER


def _group(attributes: Any) -> Declared:
    attributes = attributes if isinstance(attributes, dict) else {}
    return Declared(attributes={n: attributes[n] for n in ATTRIBUTES if n in attributes})
