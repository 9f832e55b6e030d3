"""Small changes to ONNX files, without the package `onnx`: one more output, noise that is given instead of drawn.

An ONNX file is a protobuf message. Field numbers are those of onnx.proto: ModelProto.graph 7; GraphProto.node 1,
.input 11, .output 12; NodeProto.input 1, .output 2, .op_type 4; ValueInfoProto.name 1, .type 2.
"""

from collections.abc import Iterator

GRAPH, NODE, INPUT, OUTPUT = 7, 1, 11, 12
_FLOAT, _INT64 = 1, 7


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    coded = b""
    while number > 127:
        coded += bytes([number & 127 | 128])
        number >>= 7
    return coded + bytes([number])


def field(number: int, payload: bytes) -> bytes:
    """One length-delimited protobuf field."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def tensor_info(name: str, element_type: int = _FLOAT) -> bytes:
    """ValueInfoProto of a tensor of any shape."""
    return field(1, name.encode()) + field(2, field(1, bytes([1 << 3, element_type])))


def with_graph_output(model: bytes, name: str) -> bytes:
    """ONNX model bytes whose graph also returns the float tensor `name`.

    A protobuf message that occurs twice is merged, so a second `graph` field that holds nothing but the new output is
    enough.
    """
    return model + field(GRAPH, field(OUTPUT, tensor_info(name)))


def with_given_noise(model: bytes) -> tuple[bytes, list[str]]:
    """ONNX model bytes whose RandomNormalLike nodes read their noise from new inputs, and the names of these.

    Each node becomes Slice(noise, 0, shape of what it was like): the inputs, float tensors of rank 3 in the order of
    the nodes, may be larger than what is used. A last input, `noise_start`, takes three int64 zeros.
    """
    parts: list[bytes] = []
    names: list[str] = []
    extra = b""
    for number, payload, whole in _fields(model):
        if number != GRAPH:
            parts.append(whole)
            continue
        graph: list[bytes] = []
        for inner, node, written in _fields(payload):
            if inner == NODE and _texts(node, 4) == ["RandomNormalLike"]:
                name = f"noise_{len(names)}"
                graph.append(_slice_nodes(name, _texts(node, 1)[0], _texts(node, 2)[0]))
                names.append(name)
            else:
                graph.append(written)
        extra = b"".join(field(INPUT, tensor_info(name)) for name in names)
        extra += field(INPUT, tensor_info("noise_start", _INT64))
        parts.append(field(GRAPH, b"".join(graph) + extra))
    return b"".join(parts), names


def _slice_nodes(noise: str, like: str, result: str) -> bytes:
    shape = f"{noise}_shape"
    shape_node = field(1, like.encode()) + field(2, shape.encode()) + field(4, b"Shape")
    inputs = b"".join(field(1, name.encode()) for name in (noise, "noise_start", shape))
    return field(NODE, shape_node) + field(NODE, inputs + field(2, result.encode()) + field(4, b"Slice"))


def _texts(message: bytes, number: int) -> list[str]:
    return [payload.decode() for found, payload, _ in _fields(message) if found == number]


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(number, payload, the field as written) of every field; the payload of a field without length is empty."""
    place = 0
    while place < len(message):
        start = place
        key, place = _read_varint(message, place)
        payload = b""
        match key & 7:
            case 0:
                _, place = _read_varint(message, place)
            case 1:
                place += 8
            case 2:
                size, place = _read_varint(message, place)
                payload = message[place : place + size]
                place += size
            case 5:
                place += 4
            case kind:
                raise ValueError(f"protobuf wire type {kind} at byte {start}")
        yield key >> 3, payload, message[start:place]


def _read_varint(message: bytes, place: int) -> tuple[int, int]:
    number, shift = 0, 0
    while True:
        byte = message[place]
        number |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return number, place
