# shellcheck shell=bash
# What the benchmarks compare with and nothing else uses: Open vSwitch and nft, of Debian's packages, unpacked into the
# cache, never installed. The kernel's part of both comes with the bed's kernel (tests/vm/kernel.sh). Sourced by ./dev.

# The libraries are those that a Debian 12 with sepal's own packages need not have.
contender_packages=(openvswitch-switch openvswitch-common nftables
    libnftables1 libnftnl11 libxtables12 libjansson4 libedit2 libbsd0 libmd0
    libxdp1 libunbound8 libevent-2.1-7 libnuma1 libcap-ng0)

# contenders_dir: prints the folder they are unpacked in, fetching them first when needed.
contenders_dir() {
    local dir=$SEPAL_CACHE/contenders.1
    if [[ ! -d $dir ]]; then
        mkdir -p "$SEPAL_CACHE"
        exec {contenders_lock}>"$SEPAL_CACHE/.contenders-lock"
        flock "$contenders_lock"
        [[ -d $dir ]] || fetch_contenders "$dir" || return 1
        exec {contenders_lock}>&-
    fi
    printf '%s\n' "$dir"
}

fetch_contenders() {
    local dir=$1 work=$1.new deb
    rm -rf "$work"
    mkdir -p "$work/deb"
    say "fetching Open vSwitch and nft, to compare with"
    # The lists of an older machine name packages that the mirror no longer has.
    if ! download_contenders "$work/deb" && ! { update_package_lists && download_contenders "$work/deb"; }; then
        say "cannot fetch them: see apt's message above"
        return 1
    fi
    for deb in "$work"/deb/*.deb; do
        dpkg-deb -x "$deb" "$work"
    done
    rm -rf "$work/deb" "$work"/usr/share/{doc,man}
    if ! LD_LIBRARY_PATH=$work/usr/lib/x86_64-linux-gnu "$work/usr/lib/openvswitch-switch/ovs-vswitchd" --version >/dev/null ||
        ! LD_LIBRARY_PATH=$work/usr/lib/x86_64-linux-gnu "$work/usr/sbin/nft" --version >/dev/null; then
        say "Open vSwitch or nft of Debian's packages does not start here: see above"
        return 1
    fi
    mv "$work" "$dir"
}

download_contenders() { (cd "$1" && apt-get -o APT::Sandbox::User=root -qq download "${contender_packages[@]}" >&2); }
