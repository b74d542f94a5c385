#!/usr/bin/python3
"""Turns strace's hex dump of a tc command into annotated vectors: one attribute a line, its bytes, its name.

Reads `strace -e trace=sendmsg,recvmsg -e read=N -e write=N` from stdin. Names come from the kernel's own headers.
"""
import argparse
import re
import struct
import sys

HEADERS = ["linux/rtnetlink.h", "linux/pkt_cls.h", "linux/gen_stats.h"] + [
    f"linux/tc_act/tc_{n}.h" for n in "gact mirred vlan tunnel_key pedit csum ct skbedit bpf sample".split()]
RTM = {36: "RTM_NEWQDISC", 37: "RTM_DELQDISC", 38: "RTM_GETQDISC", 44: "RTM_NEWTFILTER", 45: "RTM_DELTFILTER",
       46: "RTM_GETTFILTER", 48: "RTM_NEWACTION", 49: "RTM_DELACTION", 50: "RTM_GETACTION"}


def enum_names(prefix):
    """Numbers of the first enum whose members begin with prefix, in the order of the header."""
    for header in HEADERS:
        text = re.sub(r"/\*.*?\*/", "", open(f"/usr/include/{header}").read(), flags=re.S)
        for body in re.findall(r"enum\s*\w*\s*\{(.*?)\}", text, flags=re.S):
            body = re.sub(r"^\s*#.*$", "", body, flags=re.M)
            names, value = {}, 0
            for item in body.split(","):
                words = item.split("=")
                name = words[0].strip()
                if not name:
                    continue
                if len(words) > 1 and words[1].strip().isdigit():
                    value = int(words[1])
                names[value] = name
                value += 1
            if any(re.fullmatch(prefix + r"_(UNSPEC|KEY_EX_HTYPE)", n) for n in names.values()):
                return names
    raise SystemExit(f"no enum with {prefix}_UNSPEC in {HEADERS}")


ROOT = enum_names("TCA_ROOT")
TCA, FLOWER, ACT = enum_names("TCA"), enum_names("TCA_FLOWER"), enum_names("TCA_ACT")
STATS = enum_names("TCA_STATS")
PEDIT_EX = {1: "TCA_PEDIT_KEY_EX_HTYPE", 2: "TCA_PEDIT_KEY_EX_CMD"}
OPTIONS = {k: enum_names("TCA_" + k.upper()) for k in "gact mirred vlan tunnel_key pedit csum ct police skbedit sample".split()}
OPTIONS["bpf"] = enum_names("TCA_ACT_BPF")


def attributes(data):
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        assert 4 <= length <= len(data) - at, f"broken attribute at {at}"
        end = min(at + (length + 3 & ~3), len(data))
        yield kind & 0x3fff, data[at:at + 4], data[at + 4:at + length], data[at + length:end]
        at = end


def spaced(data):
    """Groups of four bytes."""
    return " ".join(data[i:i + 4].hex() for i in range(0, len(data), 4))


def lines(data, names, nests, depth):
    kind = ""
    for number, header, payload, padding in attributes(data):
        name = names.get(number, f"type {number}") if names else f"action {number}"
        indent = "  " * depth
        nested = nests(number, kind) if nests else None
        if nested:
            yield f"{indent}{spaced(header)}  # {name}"
            yield from lines(payload, nested[0], nested[1], depth + 1)
            continue
        note = name
        if name in ("TCA_KIND", "TCA_ACT_KIND", "TCA_ACT_BPF_NAME", "TCA_FLOWER_INDEV"):
            text = payload.rstrip(b"\0").decode()
            note += f' "{text}"'
            kind = kind or text
        rest = (" " + spaced(payload + padding)) if payload else ""
        yield f"{indent}{spaced(header)}{rest}  # {note}"


def pedit_nests(number, _):
    if number == 5:  # TCA_PEDIT_KEYS_EX
        return {6: "TCA_PEDIT_KEY_EX"}, lambda n, _k: (PEDIT_EX, None)
    return None


def action_nests(number, kind):
    if number == 2:  # TCA_ACT_OPTIONS
        return OPTIONS.get(kind, {}), pedit_nests if kind == "pedit" else None
    if number == 4:  # TCA_ACT_STATS
        return STATS, None
    return None


def flower_nests(number, _):
    return (None, lambda n, _k: (ACT, action_nests)) if number == 3 else None  # TCA_FLOWER_ACT


def message_nests(number, kind):
    return (FLOWER, flower_nests) if number == 2 and kind == "flower" else None  # TCA_OPTIONS


def root_nests(number, _):
    return (None, lambda n, _k: (ACT, action_nests)) if number == 1 else None  # TCA_ROOT_TAB


def annotate(message):
    # The sequence number and the port are the socket's, not the message's.
    message = message[:8] + bytes(8) + message[16:]
    kind, flags = struct.unpack_from("=HH", message, 4)
    yield f"{spaced(message[:16])}  # nlmsghdr: {RTM[kind]}, flags {flags:#x}"
    if kind >= 48:
        yield f"{spaced(message[16:20])}  # tcamsg"
        yield from lines(message[20:], ROOT, root_nests, 0)
        return
    ifindex, handle, parent, info = struct.unpack_from("=iIII", message, 20)
    yield (f"{spaced(message[16:36])}  # tcmsg: device {ifindex}, handle {handle:#x}, parent {parent:#x}, "
           f"prio {info >> 16:#x}, protocol {struct.unpack('>H', struct.pack('=H', info & 0xffff))[0]:#x}")
    yield from lines(message[36:], TCA, message_nests, 0)


def messages(trace):
    """Every netlink message in a trace, whichever buffer it stood in."""
    for block in re.findall(r"(?:^ \| [0-9a-f]+  .*\n)+", trace, flags=re.M):
        data = b"".join(bytes.fromhex(line[10:59].replace(" ", "")) for line in block.splitlines())
        at = 0
        while at + 16 <= len(data):
            length, kind = struct.unpack_from("=IH", data, at)
            if length < 16 or length > len(data) - at:
                break
            yield kind, data[at:at + length]
            at += length + 3 & ~3


def write(path, heads, message):
    with open(path, "w", encoding="ascii") as out:
        out.writelines(line + "\n" for line in [*heads, *annotate(message)])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--by", required=True, help="who made the bytes: iproute2's or the kernel's version")
    parser.add_argument("--request", nargs=2, metavar=("FILE", "COMMAND"), help="write the last message of the trace")
    parser.add_argument("--replies", nargs=2, metavar=("FOLDER", "LIST"),
                        help="write the filter of each chain; a line of LIST is `chain name: command`")
    options = parser.parse_args()
    found = [m for k, m in messages(sys.stdin.read()) if k in RTM]
    if options.request:
        path, command = options.request
        if not found:
            raise SystemExit(f"no message in the trace of: {command}")
        write(path, [f"# {command}", f"# {options.by}"], found[-1])
        return
    folder, listing = options.replies
    by_chain = {}
    for message in found:
        if struct.unpack_from("=I", message, 24)[0]:  # the head of a priority has no handle
            chain = next(payload for kind, _, payload, _ in attributes(message[36:]) if kind == 11)
            by_chain[struct.unpack("=I", chain)[0]] = message
    for line in open(listing, encoding="ascii"):
        chain, name, command = line.rstrip("\n").split(" ", 2)
        if int(chain) not in by_chain:
            raise SystemExit(f"no filter in the dump for: {command}")
        write(f"{folder}/{name.rstrip(':')}.txt", [f"# {command}", f"# {options.by}"], by_chain[int(chain)])


main()
