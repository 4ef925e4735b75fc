#!/bin/bash
# Fetches the Debian cloud kernel of a suite and prints the directory that holds it:
# `release`, `vmlinuz`, and `lib/modules/RELEASE` with uncompressed modules and their dependency lists.
#
#   kernel.sh SUITE           bookworm (6.1), trixie (6.12), backports (trixie-backports), sid; bookworm-arm64,
#                             trixie-ppc64el (no cloud kernel) and so on.
#                             backports@6.19 is the newest kernel of that series that is there now
#   kernel.sh --debug SUITE   prints the path of its vmlinux with debug information (a 300 MB download)
#   kernel.sh --list          prints every SUITE that the archive has now, one of each series, the oldest first
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

# The images of SUITE, the oldest first.
images() { # SUITE
    "$HERE/packages.sh" names "$(debian_suite "$1")" "^linux-image-[0-9][^ ]*-cloud-$(debian_arch "$1")\$" | sort -V
}

# The newest image of a SERIES that the archive can still give whole; it drops the modules of a kernel before the image,
# and apt shows what is not there in angle brackets.
newest() { # SUITE SERIES
    local package
    for package in $(images "$1" | grep -E "^linux-image-${2//./\\.}[.+-]" | tac); do
        "$HERE/packages.sh" depends "$(debian_suite "$1")" "$package" | grep -qE '^<linux-(binary|modules)-' && continue
        echo "$package"
        return
    done
}

# The archive drops kernels, so that no list of them stays true: it is asked.
list() {
    local suite series
    for suite in bullseye bookworm trixie backports sid experimental; do
        for series in $(images "$suite" | sed 's/^linux-image-\([0-9]*\.[0-9]*\).*/\1/' | uniq); do
            [ -z "$(newest "$suite" "$series")" ] || echo "$suite@$series"
        done
    done | sort -V -t @ -k 2 -s
}

image_package() {
    local packages
    case "$1" in *@*)
        packages=${1#*@}
        newest "$1" "${packages%-arm64}"
        return
        ;;
    esac
    case "$arch" in ppc64el) packages=linux-image-powerpc64le ;; *) packages=linux-image-cloud-$arch ;; esac
    packages=$("$HERE/packages.sh" depends "$(debian_suite "$1")" "$packages:$arch" | sed 's/:.*//')
    grep -m 1 '^linux-image-[0-9]' <<< "$packages"
}

# Newer kernels come in three packages: image (meta), binary and modules.
parts() { # SUITE IMAGE-PACKAGE
    echo "$2:$arch"
    "$HERE/packages.sh" depends "$(debian_suite "$1")" "$2:$arch" | grep -E '^linux-(binary|modules)-' |
        sed "s/:.*//; s/\$/:$arch/" || true
}

# busybox insmod takes uncompressed modules only; each is expanded here once instead of in every guest.
expand_modules() { # DIR RELEASE
    find "$1/lib/modules/$2" -name '*.ko.xz' -exec xz -d {} +
    find "$1/lib/modules/$2" -name '*.ko.zst' -exec zstd -q -d --rm {} +
    quietly depmod -b "$1" "$2"
}

fetch_kernel() { # SUITE DIR
    local image release tree=$2.tree
    image=$(image_package "$1")
    [ -n "$image" ] || absent "the kernel $1 in the archive; kernel.sh --list has those that are"
    release=${image#linux-image-}
    say "fetching the kernel $release of $1"
    # shellcheck disable=SC2046 # package names hold no blanks
    "$HERE/packages.sh" fetch "$(debian_suite "$1")" "$tree" $(parts "$1" "$image")
    rm -rf "$2.new"
    mkdir -p "$2.new/lib/modules"
    mv "$(find "$tree" -path "*lib/modules/$release" -type d | head -n 1)" "$2.new/lib/modules/$release"
    cp "$(find "$tree" "$2.new" -name 'vmlinu[xz]*' -type f | head -n 1)" "$2.new/vmlinuz"
    expand_modules "$2.new" "$release"
    echo "$release" > "$2.new/release"
    rm -rf "$tree"
    mv "$2.new" "$2"
}

fetch_debug() { # SUITE DIR
    local release scratch=$2.debug
    release=$(cat "$2/release")
    say "fetching vmlinux of $release with debug information"
    "$HERE/packages.sh" pick "$(debian_suite "$1")" "$scratch" '*/vmlinux*' "linux-image-$release-dbg:$arch"
    mv "$(find "$scratch" -name 'vmlinux*' -type f | head -n 1)" "$2/vmlinux"
    rm -rf "$scratch"
}

need depmod xz zstd
debug=
[ "${1:-}" != --list ] || { list; exit 0; }
[ "${1:-}" != --debug ] || { debug=1; shift; }
suite=${1:?usage: kernel.sh [--debug] SUITE, or --list}
arch=$(debian_arch "$suite")
dir=$LAB/kernels/$suite
mkdir -p "$LAB/kernels"
locked "$LAB/kernels/$suite.lock"
[ -e "$dir/release" ] || fetch_kernel "$suite" "$dir"
[ -n "$debug" ] || { echo "$dir"; exit 0; }
[ -e "$dir/vmlinux" ] || fetch_debug "$suite" "$dir"
echo "$dir/vmlinux"
