# shellcheck shell=bash
# Builds the simulated eSwitch (this folder) for a kernel of the test bed and keeps it in the cache, by what it was made
# from: sources, the kernel's release and its configuration. Nothing is written into the checkout or loaded here.
# Sourced by ./dev, after tests/vm/kernel.sh.

eswitch_packages=(make gcc-12)

# eswitch_module SERIES: prints the path of the module for that kernel, building it first when needed (a minute).
eswitch_module() {
    local series=$1 tree key module
    tree=$(eswitch_build_dir "$series")
    key=$(cat "$here"/tests/eswitch-sim/*.[ch] "$here/tests/eswitch-sim/Kbuild" "$tree/include/generated/utsrelease.h" \
        "$tree/include/generated/autoconf.h" | sha256sum | cut -c 1-16)
    module=$SEPAL_CACHE/eswitch-sim/$key/eswitch_sim.ko
    if [[ ! -s $module ]]; then
        mkdir -p "$SEPAL_CACHE/eswitch-sim"
        exec {eswitch_lock}>"$SEPAL_CACHE/eswitch-sim/.lock"
        flock "$eswitch_lock"
        [[ -s $module ]] || compile_eswitch "$tree" "$module"
        exec {eswitch_lock}>&-
    fi
    printf '%s\n' "$module"
}

# What modules for that kernel are built against.
eswitch_build_dir() {
    case $1 in
        6.1 | 6.12) debian_headers "$1" ;;
        *) kernel_build_dir "$1" ;;
    esac
}

compile_eswitch() {
    local tree=$1 module=$2 work t0=$SECONDS
    need_packages "${eswitch_packages[@]}"
    work=$(mktemp -d "$SEPAL_CACHE/eswitch-sim/build.XXXXXX")
    # A fixed name: a path in the module would be another module for the compiler's cache.
    cp "$here"/tests/eswitch-sim/*.[ch] "$here/tests/eswitch-sim/Kbuild" "$work"
    say "building the simulated eSwitch against ${tree##*/}"
    if ! make -s -j"$(nproc)" -C "$tree" M="$work" CC='ccache gcc-12' modules >"$work/log" 2>&1; then
        cat "$work/log" >&2
        rm -rf "$work"
        die "the simulated eSwitch does not build: see above"
    fi
    mkdir -p "${module%/*}"
    # Debug information is nearly all of it, and it is read over 9p by an emulated machine.
    strip --strip-debug -o "$module.new" "$work/eswitch_sim.ko"
    mv "$module.new" "$module"
    rm -rf "$work"
    # Those of older sources are of no use; those of other kernels are younger than a week or soon built again.
    find "$SEPAL_CACHE/eswitch-sim" -mindepth 1 -maxdepth 1 -type d -mtime +7 -exec rm -rf {} +
    say "the simulated eSwitch is ready ($((SECONDS - t0)) s)"
}

# debian_headers SERIES: prints the build tree of Debian's kernel of that series, the one the bed boots: packages
# unpacked into the cache, with the one absolute path in them corrected.
debian_headers() {
    local series=$1 kernel release dir
    kernel=$(kernel_dir "$series")
    release=$(<"$kernel/release")
    dir=$SEPAL_CACHE/headers/$release
    if [[ ! -d $dir ]]; then
        mkdir -p "$SEPAL_CACHE/headers"
        exec {headers_lock}>"$SEPAL_CACHE/headers/.lock"
        flock "$headers_lock"
        [[ -d $dir ]] || fetch_headers "$series" "$release" "$dir"
        exec {headers_lock}>&-
    fi
    printf '%s\n' "$dir/usr/src/linux-headers-$release"
}

fetch_headers() {
    local series=$1 release=$2 dir=$3 work=$3.new deb
    local -a apt_options=(-o APT::Sandbox::User=root) packages
    rm -rf "$work"
    mkdir -p "$work/deb"
    case $series in
        6.1) packages=("linux-kbuild-6.1") ;;
        *)
            use_backports "$SEPAL_CACHE/apt"
            packages=("linux-kbuild-${release%-amd64}")
            ;;
    esac
    packages+=("linux-headers-$release" "linux-headers-${release%-amd64}-common")
    say "fetching the headers of $release"
    (cd "$work/deb" && apt-get "${apt_options[@]}" -qq download "${packages[@]}" >&2) ||
        die "cannot fetch ${packages[*]}: see apt's message above (a newer kernel came out? remove $SEPAL_CACHE/kernels)"
    for deb in "$work"/deb/*.deb; do
        dpkg-deb -x "$deb" "$work"
    done
    rm -rf "$work/deb"
    sed -i "s#include /usr/src/#include $dir/usr/src/#" "$work/usr/src/linux-headers-$release/Makefile"
    # With it there, every module gets its type information, by a tool that need not be installed.
    rm -f "$work/usr/src/linux-headers-$release/vmlinux"
    mv "$work" "$dir"
}
