#!/bin/bash
# source.sh - makes the source packages of Debian and of RPM, and the list of what the programs are built from (SBOM).
#
#   source.sh OUT VERSION MAINTAINER
#
# Run by `make -C kdump-module source`. What is committed goes in, and every crate of Cargo.lock beside it, so that the packages
# build without a network. The time of everything is SOURCE_DATE_EPOCH: two runs on one commit have the same bytes.
set -euo pipefail

out=$(readlink -m "${1:?usage: source.sh OUT VERSION MAINTAINER}") version=${2:?} maintainer=${3:?}
module=$(dirname "$(readlink -f "$0")")
top=$(dirname "$module")
name=vmcore-encrypt-$version
tree=$out/source/$name
: "${SOURCE_DATE_EPOCH:?}"
export LC_ALL=C TZ=UTC

# packed FILE DIRECTORY ENTRY: a tar archive with nothing of this machine in it.
packed() {
    tar -C "$2" --sort=name --format=gnu --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=u+rw,go=rX \
        -cf - "$3" | gzip -n -6 > "$1"
}

# The tree as committed, and the crates.
unpack() {
    rm -rf "$out/source"
    mkdir -p "$tree"
    git -C "$top" archive HEAD | tar -C "$tree" -x
    (cd "$tree" && cargo vendor --quiet --locked --versioned-dirs vendor > /dev/null)
}

# SOURCE_DATE_EPOCH keeps time and serial number out of it.
list_crates() {
    local program
    program=$("$top/tests/vm/program.sh" cargo-cyclonedx)
    (cd "$tree" && "$program" cyclonedx --quiet --format json --spec-version 1.5 --features remote --override-filename sbom)
    # Where it was made is nobody's business, and differs from run to run.
    sed "s|path+file://$tree|path+file:///$name|" "$tree/sbom.json" > "$out/vmcore-encrypt_$version.cdx.json"
    rm "$tree/sbom.json"
}

archives() {
    packed "$out/vmcore-encrypt_$version.orig-vendor.tar.gz" "$tree" vendor
    mv "$tree/vendor" "$out/source/vendor"
    packed "$out/vmcore-encrypt_$version.orig.tar.gz" "$out/source" "$name"
    mv "$out/source/vendor" "$tree/vendor"
}

date_of() { date -u -d "@$SOURCE_DATE_EPOCH" "$1"; }

# debian/, from the parts that the binary packages are made of too.
debian_source() {
    local debian=$tree/debian package=$module/debian/package file
    mkdir -p "$debian/source"
    echo '3.0 (quilt)' > "$debian/source/format"
    sed "s/@MAINTAINER@/$maintainer/" "$module/debian/source/control.in" > "$debian/control"
    install -m 755 "$module/debian/source/rules" "$debian/rules"
    { cat "$package/copyright" && awk 'NR > 4 { print ($0 == "" ? " ." : " " $0) }' "$top/LICENSE-MIT"; } > "$debian/copyright"
    printf 'vmcore-encrypt (%s-1) unstable; urgency=medium\n\n  * Release %s.\n\n -- %s  %s\n' \
        "$version" "$version" "$maintainer" "$(date_of -R)" > "$debian/changelog"
    for file in postinst prerm postrm; do install -m 644 "$package/$file" "$debian/vmcore-encrypt.$file"; done
    cp "$package/lintian-overrides" "$debian/vmcore-encrypt.lintian-overrides"
    cp "$package/lintian-overrides-analyst" "$debian/vmcore-decrypt.lintian-overrides"
    find "$debian" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    (cd "$out" && dpkg-source --build "source/$name")
    mv "$out/source/"vmcore-encrypt_* "$out/" 2> /dev/null || true
}

# The spec of the binary package, with what make passes to that written down.
rpm_source() {
    local top_dir=$out/source/rpm
    mkdir -p "$top_dir/SOURCES"
    cp "$out/vmcore-encrypt_$version.orig.tar.gz" "$out/vmcore-encrypt_$version.orig-vendor.tar.gz" "$top_dir/SOURCES/"
    {
        echo "%global collector_version $version"
        echo "%global maintainer $maintainer"
        echo "%global changelog_date $(date_of '+%a %b %d %Y')"
        echo "%global from_source 1"
        # A build says the changelog's date, not its own.
        echo "%global source_date_epoch_from_changelog 1"
        echo "%global use_source_date_epoch_as_buildtime 1"
        echo "%global clamp_mtime_to_source_date_epoch 1"
        cat "$module/rpm/vmcore-encrypt.spec"
    } > "$top_dir/vmcore-encrypt.spec"
    find "$top_dir" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    # Relative, since the package has the spec as it was read, with every directory in it.
    (cd "$top_dir" && rpmbuild --quiet -bs --define '_topdir .' --define "_srcrpmdir $out" vmcore-encrypt.spec)
}

mkdir -p "$out"
unpack
list_crates
archives
! command -v dpkg-source > /dev/null || debian_source
! command -v rpmbuild > /dev/null || rpm_source
rm -rf "$out/source"
