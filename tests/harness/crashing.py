"""Makes a filter whose VM dies at every N-th request, as a defect in it would: python3 crashing.py IN.wasm OUT.wasm N.

Adds a global counter and, in front of `proxy_on_request_headers`, a trap when it reaches N. Everything else stays.
"""

import sys

ENTRY = b"proxy_on_request_headers"
EXPORTS, IMPORTS, GLOBALS, CODE = 7, 2, 6, 10


def unsigned(data, at):
    value, shift = 0, 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def leb(value):
    out = bytearray()
    while True:
        byte = value & 0x7F
        value >>= 7
        if value == 0:
            out.append(byte)
            return bytes(out)
        out.append(byte | 0x80)


def signed_leb(value):
    out = leb(value)
    # The sixth bit of the last byte is the sign.
    return out if out[-1] & 0x40 == 0 else out[:-1] + bytes([out[-1] | 0x80, 0])


def limits(data, at):
    flags, at = unsigned(data, at)
    _, at = unsigned(data, at)
    return unsigned(data, at)[1] if flags & 1 else at


def imported(section):
    """How many functions and globals come from outside."""
    functions = globals_ = 0
    count, at = unsigned(section, 0)
    for _ in range(count):
        for _ in range(2):
            length, at = unsigned(section, at)
            at += length
        kind = section[at]
        at += 1
        if kind == 0:
            functions += 1
            _, at = unsigned(section, at)
        elif kind == 1:
            at = limits(section, at + 1)
        elif kind == 2:
            at = limits(section, at)
        else:
            globals_ += 1
            at += 2
    return functions, globals_


def exported(section):
    count, at = unsigned(section, 0)
    for _ in range(count):
        length, at = unsigned(section, at)
        name = section[at:at + length]
        at += length
        kind = section[at]
        index, at = unsigned(section, at + 1)
        if kind == 0 and name == ENTRY:
            return index
    raise SystemExit(f"{ENTRY.decode()} is not exported")


def with_trap(section, index, counter, every):
    count, at = unsigned(section, 0)
    out = bytearray(leb(count))
    for number in range(count):
        size, at = unsigned(section, at)
        body = section[at:at + size]
        at += size
        if number == index:
            groups, inside = unsigned(body, 0)
            for _ in range(groups):
                _, inside = unsigned(body, inside)
                inside += 1
            get, put = b"\x23" + leb(counter), b"\x24" + leb(counter)
            trap = get + b"\x41\x01\x6a" + put + get + b"\x41" + signed_leb(every) + b"\x46\x04\x40\x00\x0b"
            body = body[:inside] + trap + body[inside:]
        out += leb(len(body)) + body
    return bytes(out)


def main(source, target, every):
    module = open(source, "rb").read()
    sections, at = [], 8
    while at < len(module):
        kind = module[at]
        size, at = unsigned(module, at + 1)
        sections.append((kind, module[at:at + size]))
        at += size
    found = dict(sections)
    functions, globals_ = imported(found[IMPORTS])
    own, begin = unsigned(found[GLOBALS], 0)
    index = exported(found[EXPORTS]) - functions
    out = bytearray(module[:8])
    for kind, section in sections:
        if kind == GLOBALS:
            section = leb(own + 1) + section[begin:] + b"\x7f\x01\x41\x00\x0b"
        elif kind == CODE:
            section = with_trap(section, index, globals_ + own, every)
        out += bytes([kind]) + leb(len(section)) + section
    open(target, "wb").write(out)


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
