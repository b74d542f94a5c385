# shellcheck shell=bash
# One boot of the test bed: QEMU with one of Debian's kernels on this machine's own root (read-only, with a
# tmpfs over it), running one command as root. Sourced by ./dev; needs tests/vm/kernel.sh.
#
# The job's folder is shared with the guest (read-write) and is the whole interface between the two sides:
#   settings  command  inside      what to run, and how
#   up                             the guest appears: it is about to run the command
#   stdout  stderr                 written by the command over 9p, so every byte is here before its write returns;
#                                  passed on live by tail
#   status                         exit status; missing when the guest died
#   console.log                    kernel's console, written by QEMU

# Emulated, a boot takes 6 s of an idle machine's time, but minutes where eight compilers share its cores: so the
# limit that tells a hung guest is on the CPU time it used, 5 to 15 s; the one on the clock is only a last resort.
boot_cpu_seconds_max=60
boot_seconds_max=900

# How the kernel is started. Debian zeroes each page it hands out, guards against speculation and tests its
# ciphers: under emulation that costs seconds and proves nothing here. acpi=noirq spares 0.4 s per virtio device
# of interpreted ACPI code (they use MSI). The watchdogs would take a slow machine for a hung guest. One CPU boots
# and the others join at the end (tests/vm/inside): on a busy machine two emulated CPUs mostly wait for each other,
# and a boot has thousands of such meetings.
kernel_arguments=(console=ttyS0 panic=-1 oops=panic maxcpus=1 noreplace-smp lpj=5000000 mitigations=off init_on_alloc=0
    cryptomgr.notests acpi=noirq nowatchdog random.trust_cpu=on no_timer_check tsc=reliable apparmor=0 audit=0
    8250.nr_uarts=1)

# boot_vm SERIES [--terminal] [--timeout SECONDS] COMMAND [ARGUMENT...]: runs the command, returns its status.
# 124 = took too long, 125 = the guest did not come up or died, 130 = interrupted.
boot_vm() {
    local series=$1 terminal='' seconds_max=0
    shift
    while :; do
        case $1 in
            --terminal) terminal=/dev/hvc0; shift ;;
            --timeout) seconds_max=$2; shift 2 ;;
            *) break ;;
        esac
    done
    if [[ $terminal && ! -t 0 ]]; then
        die "a shell in the bed needs a terminal; give a command instead"
    fi
    local kernel release
    kernel=$(kernel_dir "$series") || exit 125
    release=$(<"$kernel/release")
    mkdir -p "$SEPAL_OUT" "$SEPAL_CACHE/jobs"
    # What runs that were killed left.
    find "$SEPAL_CACHE/jobs" -mindepth 1 -maxdepth 1 -mtime +1 -exec rm -rf {} +
    local job
    job=$(mktemp -d "$SEPAL_CACHE/jobs/job.XXXXXX")
    write_job "$job" "$kernel/lib/modules/$release" "$terminal" "$@"
    make_initrd "$kernel" "$job/initrd"

    local qemu_program accelerator
    qemu_program=$(find_qemu) || exit 125
    accelerator=$(accelerator_arguments "$kernel") || exit 125
    # shellcheck disable=SC2206  # several words on purpose
    local -a qemu=("$qemu_program" -name sepal-bed -nodefaults -no-user-config -display none -no-reboot
        -machine pc $accelerator -smp 2 -m "${SEPAL_VM_MEMORY:-4096}"
        -kernel "$kernel/vmlinux" -initrd "$job/initrd" -append "${kernel_arguments[*]}"
        -chardev "file,id=console,path=$job/console.log" -serial chardev:console
        -fsdev local,id=root,path=/,security_model=none,readonly=on,multidevs=remap
        -device virtio-9p-pci,disable-legacy=on,disable-modern=off,fsdev=root,mount_tag=root
        -fsdev "local,id=job,path=${job//,/,,},security_model=none"
        -device virtio-9p-pci,disable-legacy=on,disable-modern=off,fsdev=job,mount_tag=job
        -fsdev "local,id=out,path=${SEPAL_OUT//,/,,},security_model=none"
        -device virtio-9p-pci,disable-legacy=on,disable-modern=off,fsdev=out,mount_tag=out)
    if [[ $terminal ]]; then
        qemu+=(-device virtio-serial-pci -chardev stdio,id=terminal,signal=off -device virtconsole,chardev=terminal)
    fi

    local status=0
    run_qemu "$job" "$seconds_max" "$terminal" "${qemu[@]}" || status=$?
    rm -rf "$job"
    return "$status"
}

write_job() {
    local job=$1 modules=$2 terminal=$3 size name
    shift 3
    size=$(stty size 2>/dev/null <&1) || size=''
    [[ $size =~ ^[1-9] ]] || size='24 80'
    cp "$here/tests/vm/inside" "$job/inside"
    {
        printf 'CHECKOUT=%s\n' "$(sh_quote "$here")"
        printf 'MODULES=%s\n' "$(sh_quote "$modules")"
        printf 'SEPAL_OUT=%s\n' "$(sh_quote "$SEPAL_OUT")"
        printf 'TERMINAL=%s ROWS=%s COLS=%s\n' "$terminal" "${size% *}" "${size#* }"
    } >"$job/settings"
    {
        for name in "${!SEPAL_@}" CI TERM NO_COLOR PYTEST_ADDOPTS; do
            [[ -v $name ]] && printf 'export %s=%q\n' "$name" "${!name}"
        done
        printf 'export SEPAL_BED=vm\ncd %q || exit 125\n' "$here"
        printf '%q ' exec "$@"
        echo
    } >"$job/command"
    : >"$job/stdout"
    # One file for both when they go to the same place, so that their lines keep their order.
    [[ /proc/self/fd/1 -ef /proc/self/fd/2 ]] || : >"$job/stderr"
}

# For the guest's plain sh, which does not know the $'...' of bash's %q.
sh_quote() { printf "'%s'" "${1//\'/\'\\\'\'}"; }

run_qemu() {
    local job=$1 seconds_max=$2 terminal=$3 qemu_pid why='' t0=$SECONDS up='' saved_terminal=''
    local -a tails=()
    local said=$SECONDS
    shift 3
    if [[ $terminal ]]; then
        saved_terminal=$(stty -g)
        "$@" 2>"$job/qemu.log" <&0 &
    else
        "$@" 2>"$job/qemu.log" </dev/null &
    fi
    qemu_pid=$!
    # shellcheck disable=SC2064  # the pid of now is meant
    trap "why=interrupted; kill -KILL $qemu_pid 2>/dev/null" INT TERM HUP
    if [[ ! $terminal ]]; then
        tail -qf -c +1 -s 0.1 --pid "$qemu_pid" "$job/stdout" 2>/dev/null &
        tails+=($!)
        if [[ -e $job/stderr ]]; then
            tail -qf -c +1 -s 0.1 --pid "$qemu_pid" "$job/stderr" >&2 2>/dev/null &
            tails+=($!)
        fi
    fi
    exec {tick}<> <(:)
    while kill -0 "$qemu_pid" 2>/dev/null; do
        read -rt 0.2 -u "$tick" _ || true
        if [[ ! $up ]]; then
            if [[ -e $job/up ]]; then
                up=$SECONDS
            elif ((SECONDS - t0 > boot_seconds_max || $(cpu_seconds "$qemu_pid") > boot_cpu_seconds_max)); then
                why="the guest did not come up in $((SECONDS - t0)) s, $(cpu_seconds "$qemu_pid") of them on a CPU"
            elif ((SECONDS - said >= 20)); then
                said=$SECONDS
                say "still booting after $((SECONDS - t0)) s"
            fi
        elif ((seconds_max && SECONDS - up > seconds_max)); then
            why="the command took longer than $seconds_max s"
        fi
        # Whoever reads our output went away (as `| head` does): nobody is left to run for.
        if [[ ! $terminal ]] && ! kill -0 "${tails[0]}" 2>/dev/null && kill -0 "$qemu_pid" 2>/dev/null; then
            why='output closed'
        fi
        [[ $why ]] && break
    done
    exec {tick}<&-
    # It holds nothing that could be lost: no disk, and what was written to a share is written.
    if [[ $why ]]; then
        kill -KILL "$qemu_pid" 2>/dev/null
    fi
    wait "$qemu_pid" 2>/dev/null || true
    ((${#tails[@]} == 0)) || wait "${tails[@]}" 2>/dev/null || true
    trap - INT TERM HUP
    [[ $saved_terminal ]] && stty "$saved_terminal"

    if [[ $why == interrupted ]]; then
        return 130
    elif [[ $why == 'output closed' ]]; then
        return 141
    elif [[ $why == 'the command took'* ]]; then
        guest_failed "$job" "$why"
        return 124
    elif [[ $why || ! -s $job/status ]]; then
        guest_failed "$job" "${why:-the guest died (kernel panic, or QEMU itself) before its command ended}"
        return 125
    fi
    if grep -Eq 'WARNING: |BUG: |KASAN|refcount_t:|rcu: INFO' "$job/console.log"; then
        say "the guest's kernel complained:"
        grep -E -A 3 'WARNING: |BUG: |KASAN|refcount_t:|rcu: INFO' "$job/console.log" | head -n 20 >&2
    fi
    return "$(<"$job/status")"
}

# Prints the QEMU to use: 8.1 or newer. Before that, a virtual CPU may keep a stale translation of an instruction
# which another one patches at that moment (fixed by "accel/tcg: Always lock pages before translation"), and Linux
# patches itself all the time (static keys): such guests die of a stray int3, or hang, within minutes. Debian 12's
# is 7.2, so the one of its backports is unpacked into the cache; Debian's package stays installed for the
# libraries and firmware of both.
find_qemu() {
    local dir=$SEPAL_CACHE/qemu.1 version
    version=$(qemu-system-x86_64 --version | awk '{ print $4; exit }')
    if dpkg --compare-versions "$version" ge 8.1; then
        echo qemu-system-x86_64
        return
    fi
    if [[ ! -x $dir/usr/bin/qemu-system-x86_64 ]]; then
        mkdir -p "$SEPAL_CACHE"
        exec {qemu_lock}>"$SEPAL_CACHE/.qemu-lock"
        flock "$qemu_lock"
        [[ -x $dir/usr/bin/qemu-system-x86_64 ]] || fetch_qemu "$dir"
        exec {qemu_lock}>&-
    fi
    echo "$dir/usr/bin/qemu-system-x86_64"
}

fetch_qemu() {
    local dir=$1 work=$1.new deb
    local -a apt_options=(-o APT::Sandbox::User=root)
    rm -rf "$dir" "$work"
    mkdir -p "$work/deb"
    use_backports "$SEPAL_CACHE/apt"
    say "fetching QEMU from Debian's backports (this machine's is too old to emulate two CPUs reliably)"
    (cd "$work/deb" && apt-get "${apt_options[@]}" -qq download qemu-system-x86 qemu-system-data >&2) ||
        die "cannot fetch QEMU: see apt's message above"
    for deb in "$work"/deb/*.deb; do
        dpkg-deb -x "$deb" "$work"
    done
    rm -rf "$work/deb" "$work"/usr/share/{doc,man}
    "$work/usr/bin/qemu-system-x86_64" --version >/dev/null ||
        die "the QEMU of Debian's backports does not start here: see above"
    mv "$work" "$dir"
}

# Prints the CPU time that process has used so far; its own, for QEMU has no children.
cpu_seconds() {
    local stat
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || { echo 0; return; }
    # Behind the name, which is in parentheses and may hold anything: fields 14 and 15 are ticks, 100 per second.
    read -ra stat <<<"${stat##*) }"
    echo $(((stat[11] + stat[12]) / 100))
}

guest_failed() {
    local job=$1
    say "$2"
    [[ -s $job/qemu.log ]] && sed 's/^/  qemu: /' "$job/qemu.log" >&2
    cp "$job/console.log" "$SEPAL_OUT/console.log" 2>/dev/null || return 0
    say "the end of its console, all of it in $SEPAL_OUT/console.log:"
    tail -n 30 "$job/console.log" | sed 's/^/  | /' >&2
}

# /dev/kvm may be there and hang each guest all the same (nested, in some clouds): it is used only after a guest
# has come up with it once since this machine started.
accelerator_arguments() {
    local kernel=$1 verdict_file verdict=tcg
    verdict_file=$SEPAL_CACHE/kvm.$(</proc/sys/kernel/random/boot_id)
    if [[ ${SEPAL_ACCEL:-} ]]; then
        verdict=$SEPAL_ACCEL
    elif [[ -s $verdict_file ]]; then
        verdict=$(<"$verdict_file")
    elif [[ -w /dev/kvm ]]; then
        say "trying /dev/kvm"
        kvm_works "$kernel" && verdict=kvm
        say "guests run $([[ $verdict == kvm ]] && echo 'with KVM' || echo 'emulated: KVM hangs or fails here')"
        rm -f "$SEPAL_CACHE"/kvm.*
        echo "$verdict" >"$verdict_file"
    fi
    case $verdict in
        kvm) echo -accel kvm -cpu host ;;
        # While the guest works its clock counts instructions, one a nanosecond, which no other load of the machine
        # changes; while it is idle, its clock is the machine's.
        icount) echo -accel tcg,thread=single -icount shift=0,sleep=on -cpu max ;;
        *) echo -accel tcg,thread=multi -cpu max ;;
    esac
}

kvm_works() {
    local kernel=$1 trial
    trial=$(mktemp -d "$SEPAL_CACHE/trial.XXXXXX")
    mkdir -p "$trial/tree/bin"
    cp /bin/busybox "$trial/tree/bin/busybox"
    printf '#!/bin/busybox sh\n/bin/busybox echo the-trial-is-up\n/bin/busybox poweroff -f\n' >"$trial/tree/init"
    chmod +x "$trial/tree/init"
    (cd "$trial/tree" && find . | cpio --quiet -o -H newc) >"$trial/initrd"
    timeout -k 1 10 "$(find_qemu)" -nodefaults -no-user-config -display none -no-reboot -machine pc \
        -accel kvm -cpu host -m 512 -kernel "$kernel/vmlinux" -initrd "$trial/initrd" \
        -append 'console=ttyS0 quiet panic=-1' -serial "file:$trial/console" </dev/null >/dev/null 2>&1
    local works=1
    grep -q the-trial-is-up "$trial/console" 2>/dev/null && works=0
    rm -rf "$trial"
    return "$works"
}
