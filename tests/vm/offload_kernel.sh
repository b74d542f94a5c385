# shellcheck shell=bash
# The test bed's own kernel: Debian's linux-source with the small configurations of tests/vm/kernel/, because no kernel
# of Debian has NET_TC_SKB_EXT. Built once per configuration, into the cache, in some ten minutes
# on two idle cores. Its folder is as those of tests/vm/kernel.sh, and `build` in it is what modules are built against.
# Sourced by ./dev.

build_packages=(make flex bison bc libelf-dev)

# Counts up when this file changes what the folder holds.
own_kernel_layout=1

# Which of tests/vm/kernel/ make which kernel.
kernel_configs() {
    case $1 in
        offload) echo "$here/tests/vm/kernel/offload.config" ;;
        offload-checked) echo "$here/tests/vm/kernel/offload.config" "$here/tests/vm/kernel/checks.config" ;;
        *) return 1 ;;
    esac
}

# own_kernel_dir NAME: prints the folder of that kernel, building it first when needed.
own_kernel_dir() {
    local name=$1 dir configs
    read -ra configs <<<"$(kernel_configs "$name")"
    # The source is chosen once and kept: a point release of Debian alone is no reason to build again.
    dir=$SEPAL_CACHE/kernels/$name.$(cat "${configs[@]}" - <<<"$own_kernel_layout" | sha256sum | cut -c 1-12)
    if [[ ! -s $dir/release ]]; then
        mkdir -p "$SEPAL_CACHE/kernels"
        exec {own_lock}>"$SEPAL_CACHE/kernels/.lock-$name"
        flock "$own_lock"
        [[ -s $dir/release ]] || build_kernel "$name" "$dir" "${configs[@]}"
        exec {own_lock}>&-
    fi
    printf '%s\n' "$dir"
}

build_kernel() {
    local name=$1 dir=$2 work=$2.new t0=$SECONDS release
    shift 2
    need_packages "${build_packages[@]}"
    rm -rf "$SEPAL_CACHE/kernels/$name".*
    mkdir -p "$work/build"
    unpack_kernel_source "$work/build"
    say "building the kernel '$name': some ten minutes on two cores, and not again"
    (
        # Errors end it by hand: bash does not, in a function called beside `||`.
        cd "$work/build" && make -s tinyconfig && ./scripts/kconfig/merge_config.sh -m .config "$@" >/dev/null 2>&1 &&
            make -s olddefconfig && check_kernel_config "$@" || exit 1
        # Nothing of this kernel tells who built it where, so that two machines build the same.
        export KBUILD_BUILD_USER=sepal KBUILD_BUILD_HOST=sepal KBUILD_BUILD_TIMESTAMP='1970-01-01 00:00:00 UTC'
        # QEMU enters in enlighten.c, which compares strings, before the memory that KASAN's checks look at is mapped.
        make -j"$(nproc)" CC="ccache gcc" LOCALVERSION="-sepal-$name" \
            KASAN_SANITIZE_enlighten.o=n KASAN_SANITIZE_string.o=n vmlinux modules 2>&1 |
            awk 'NR % 50 == 0 { print NR " files"; fflush() } /error|Error/ { print "\n" $0 }'
    ) >"$work/log" 2>&1 &
    show_build "$!" "$work/log" || { tail -n 20 "$work/log" >&2; die "the kernel '$name' does not build: see above"; }
    release=$(<"$work/build/include/config/kernel.release")
    mv "$work/build/vmlinux" "$work/vmlinux"
    mkdir -p "$work/lib/modules"
    make -s -C "$work/build" LOCALVERSION="-sepal-$name" INSTALL_MOD_PATH="$work" modules_install >>"$work/log" 2>&1
    rm -f "$work/lib/modules/$release"/{build,source}
    prune_build_tree "$work/build"
    printf '%s\n' "$release" >"$work/release"
    mv "$work" "$dir"
    say "kernel $release is ready ($((SECONDS - t0)) s)"
}

# Waits for a build that writes to a log, saying how far it is now and then.
show_build() {
    local pid=$1 log=$2 said=$SECONDS
    while kill -0 "$pid" 2>/dev/null; do
        sleep 1
        ((SECONDS - said >= 30)) || continue
        said=$SECONDS
        say "still building: $(tail -n 1 "$log")"
    done
    wait "$pid"
}

unpack_kernel_source() {
    local to=$1 download
    download=$(mktemp -d "$SEPAL_CACHE/source.XXXXXX")
    say "fetching Debian's linux-source-6.1"
    (cd "$download" && { apt-get -o APT::Sandbox::User=root -qq download linux-source-6.1 >&2 ||
        { update_package_lists && apt-get -o APT::Sandbox::User=root -qq download linux-source-6.1 >&2; }; }) ||
        die "cannot fetch linux-source-6.1: see apt's message above"
    dpkg-deb --fsys-tarfile "$download"/linux-source-6.1_*.deb | tar -xO ./usr/src/linux-source-6.1.tar.xz |
        tar -xJ -C "$to" --strip-components=1
    rm -rf "$download"
}

# What a configuration asks for and Kconfig does not give, for want of something it depends on, is an error here: the
# kernel would lack it silently.
check_kernel_config() {
    local missing
    missing=$(grep -hE '^CONFIG_' "$@" | grep -vxFf .config) || true
    [[ ! $missing ]] || { echo "Kconfig does not take: $missing"; return 1; }
}

# Leaves what `make M=...` reads: makefiles, scripts, headers, symbols and objtool.
prune_build_tree() {
    local tree=$1 part
    for part in "$tree"/*; do
        case ${part##*/} in
            arch | include | scripts | tools | Makefile | Module.symvers) ;;
            *) rm -rf "$part" ;;
        esac
    done
    find "$tree/arch" -mindepth 1 -maxdepth 1 ! -name x86 -exec rm -rf {} +
    find "$tree/tools" -mindepth 1 -maxdepth 1 ! -name objtool -exec rm -rf {} +
    find "$tree/arch" "$tree/tools" -name '*.[ocS]' -delete
    rm -f "$tree"/.vmlinux* "$tree"/.tmp_vmlinux*
}

# kernel_build_dir SERIES: prints the tree to build modules against.
kernel_build_dir() {
    local series=$1
    kernel_configs "$series" >/dev/null || die "modules are built for the kernels offload and offload-checked"
    printf '%s/build\n' "$(own_kernel_dir "$series")"
}
