#!/bin/bash
# Refreshes the vectors from commands.txt: runs tc under strace and writes the bytes, annotated; those of `tc actions`,
# the requests about actions as objects of their own, into actions/.
#   tests/wire/capture.sh requests           iproute2's bytes; the kernel may refuse them, so any kernel will do
#   ./dev vm tests/wire/capture.sh replies   a kernel's dumps of the same filters, into $SEPAL_OUT/replies
# Works in a network namespace of its own that is gone afterwards. Needs root, strace and clang-19; replies need a kernel
# with flower. A filter of replies/ stands in a chain of its own, so that one dump holds them all.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
what=${1:?"requests or replies"}

if [[ ${inside:-} != yes ]]; then
    inside=yes exec unshare --net --mount "$0" "$what"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf
clang-19 -target bpf -O2 -c -x c -o "$work/action.o" - <<'C'
__attribute__((section("action"), used)) int answer(void *skb) { return 2; }
C
ip link set lo up
ip link add name up0 index 4660 type veth peer name up1

commands() { # "name: command" without the comments, the program's path filled in
    sed -n "s|@OBJECT@|$work/action.o|; /^[a-z]/p" "$here/commands.txt"
}

case $what in
    requests)
        mkdir -p "$here/requests"
        mkdir -p "$here/actions"
        failed=''
        while IFS=: read -r name command; do
            read -ra arguments <<<"$command"
            folder=requests
            [[ ${arguments[0]} == actions ]] && folder=actions
            strace -qq -s 0 -e trace=sendmsg,sendto -e write=3,4,5,6,7 -o "$work/trace" tc "${arguments[@]}" \
                >"$work/output" 2>&1 || true
            "$here/annotate.py" --by "$(tc -V)" --request "$here/$folder/$name.txt" \
                "tc ${command//$work\//}" <"$work/trace" || { cat "$work/output" >&2; failed+=" $name"; }
        done < <(commands | sed 's/: /:/')
        [[ ! $failed ]] || { echo "not recorded:$failed" >&2; exit 1; }
        ;;
    replies)
        out=$SEPAL_OUT/replies
        mkdir -p "$out"
        tc qdisc add dev lo clsact
        # "chain name: command", each chain from 1000 on
        commands | grep ': filter add' | sed 's/: filter add/: tc filter add/' |
            awk '{ n = 999 + NR; sub(/ chain [0-9]+/, " chain " n); print n, $0 }' >"$work/list"
        sed 's/^[^:]*: tc //' "$work/list" >"$work/batch"
        tc -batch "$work/batch"
        for detail in full terse; do
            [[ $detail == terse ]] && arguments=(-br filter show dev lo ingress) || arguments=(filter show dev lo ingress)
            strace -qq -s 0 -e trace=recvmsg -e read=3,4,5,6,7 -o "$work/trace" tc "${arguments[@]}" >/dev/null
            [[ $detail == terse ]] && sed -i '/ cookie: /!d; s/ cookie: / cookie-terse: /' "$work/list"
            sed -i "s|$work/||" "$work/list"
            "$here/annotate.py" --by "Linux $(uname -r), $detail dump" --replies "$out" "$work/list" <"$work/trace"
        done
        ;;
    *) echo "requests or replies?" >&2; exit 2 ;;
esac
