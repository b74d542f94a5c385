# shellcheck shell=bash
# Debian's kernels for the test bed: fetched as packages, unpacked into the cache, never installed.
#
# A kernel's folder in the cache holds
#   vmlinux              the uncompressed kernel: QEMU enters it through its PVH note, which spares the guest
#                        the unpacking of the compressed image, half of the boot time under emulation
#   lib/modules/RELEASE  its modules, uncompressed and indexed
#   release              the kernel's release string; written last, so that its presence means "complete"
# Sourced by ./dev.

# Counts up when this file changes what the folder holds; folders of an older layout are fetched anew.
kernel_layout=1

# Parts of the package's module tree that a lab can need. The rest (sound, graphics, storage ...) is 80 % of it.
kernel_parts=(arch crypto fs lib net drivers/net drivers/virtio drivers/char drivers/block drivers/vhost)

# kernel_dir SERIES: prints the folder of Debian's newest kernel of that series, fetching it first when needed.
kernel_dir() {
    local series=$1 dir
    if kernel_configs "$series" >/dev/null; then
        own_kernel_dir "$series"
        return
    fi
    dir=$SEPAL_CACHE/kernels/$series.$kernel_layout
    if [[ ! -s $dir/release ]]; then
        mkdir -p "$SEPAL_CACHE/kernels"
        # Two runs at the same time must not unpack over each other.
        exec {kernel_lock}>"$SEPAL_CACHE/kernels/.lock"
        flock "$kernel_lock"
        [[ -s $dir/release ]] || fetch_kernel "$series" "$dir"
        exec {kernel_lock}>&-
    fi
    printf '%s\n' "$dir"
}

fetch_kernel() {
    local series=$1 dir=$2 work=$2.new package release deb t0=$SECONDS
    local -a apt_options=(-o APT::Sandbox::User=root)
    rm -rf "$dir" "$work"
    mkdir -p "$work/deb" "$work/tree"
    case $series in
        6.1) ;;
        6.12) use_backports "$SEPAL_CACHE/apt" ;;
        *) die "no kernel '$series': Debian 12 has 6.1, its backports have 6.12; offload and offload-checked are our own" ;;
    esac
    package=$(apt-cache "${apt_options[@]}" depends linux-image-amd64 2>/dev/null |
        awk '$1 == "Depends:" && $2 ~ /^linux-image-/ { print $2; exit }')
    [[ $package == linux-image-"$series".* ]] ||
        die "apt offers '${package:-nothing}' as linux-image-amd64 where a $series kernel is needed: is this Debian 12?"
    say "fetching $package"
    (cd "$work/deb" && apt-get "${apt_options[@]}" -qq download "$package" >&2) ||
        die "cannot fetch $package: see apt's message above (./dev vm needs the Debian mirror once)"
    deb=$(echo "$work"/deb/*.deb)
    say "unpacking $package"
    dpkg-deb -x "$deb" "$work/tree"
    release=${package#linux-image-}
    extract_vmlinux "$work/tree/boot/vmlinuz-$release" >"$work/vmlinux"
    keep_modules "$work/tree/lib/modules/$release" "$work/lib/modules/$release"
    # Loading a compressed module in the guest costs more than its place on disk here.
    find "$work/lib/modules/$release" -name '*.ko.xz' -print0 | xargs -0r -P "$(nproc)" -n 64 xz -d
    depmod -b "$work" "$release"
    rm -rf "$work/tree" "$work/deb"
    printf '%s\n' "$release" >"$work/release"
    mv "$work" "$dir"
    say "kernel $release is ready ($((SECONDS - t0)) s)"
}

# A private apt configuration for the backports suite: the machine's own sources stay as they are.
use_backports() {
    local state=$1 mirror
    # The mirror this machine already uses for Debian itself, from either format of sources.
    mirror=$(sed -nE 's#^(URIs:|deb( +\[[^]]*\])?) +([a-z+]+:[^ ]*/debian)/?( .*)?$#\3#p' \
        /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null | head -n 1) || true
    mkdir -p "$state/sources" "$state/lists/partial"
    cat >"$state/sources/backports.sources" <<-END
	Types: deb
	URIs: ${mirror:-http://deb.debian.org/debian}
	Suites: bookworm-backports
	Components: main
	Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
	END
    apt_options+=(-o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$state/sources"
        -o "Dir::State::Lists=$state/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
        -o Acquire::Languages=none)
    say "reading the package list of bookworm-backports"
    apt-get "${apt_options[@]}" -qq update >&2 || die "cannot read bookworm-backports from ${mirror:-deb.debian.org}"
}

# Cuts the compressed kernel out of a bzImage: the setup header (Documentation/x86/boot.rst) says where it
# is; its last four bytes are the length of what comes out, not part of the stream.
extract_vmlinux() {
    local image=$1 setup_sectors offset length start magic
    setup_sectors=$(od -An -tu1 -j 0x1f1 -N 1 "$image")
    offset=$(od -An -tu4 -j 0x248 -N 4 "$image")
    length=$(od -An -tu4 -j 0x24c -N 4 "$image")
    start=$(((setup_sectors + 1) * 512 + offset))
    magic=$(od -An -tx1 -j "$start" -N 4 "$image" | tr -d ' ')
    local -a unpack
    case $magic in
        fd377a58) unpack=(xz -dc) ;;
        28b52ffd) unpack=(zstd -qdc) ;;
        *) die "$image is compressed in a way this script does not know (it begins with $magic)" ;;
    esac
    # tail is cut off by head on purpose.
    (set +o pipefail; tail -c +$((start + 1)) "$image" | head -c $((length - 4)) | "${unpack[@]}")
}

keep_modules() {
    local from=$1 to=$2 part
    mkdir -p "$to/kernel/drivers"
    mv "$from"/modules.{order,builtin,builtin.modinfo} "$to"
    for part in "${kernel_parts[@]}"; do
        [[ -d $from/kernel/$part ]] && mv "$from/kernel/$part" "$to/kernel/$part"
    done
}

# make_initrd KERNEL_DIR FILE: busybox, the modules that reach the root over 9p, and tests/vm/init.
make_initrd() {
    local kernel=$1 file=$2 tree=$2.tree release name path
    release=$(<"$kernel/release")
    mkdir -p "$tree"/{bin,modules,proc,sys,dev,lower,upper,newroot}
    cp /bin/busybox "$tree/bin/busybox"
    cp "$here/tests/vm/init" "$tree/init"
    chmod +x "$tree/init"
    # In this order each module finds what it depends on already there. A series may have some of them built in.
    for name in netfs fscache virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci \
        virtio_console 9pnet 9pnet_virtio 9p overlay; do
        path=$(find "$kernel/lib/modules/$release" -name "$name.ko" | head -n 1)
        [[ -n $path ]] || continue
        cp "$path" "$tree/modules/"
        echo "$name.ko" >>"$tree/modules/order"
    done
    (cd "$tree" && find . | cpio --quiet -o -H newc) >"$file"
    rm -rf "$tree"
}
