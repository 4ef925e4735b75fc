#!/bin/bash
# Fetches the newest age and rage as judges for tests/interop.rs, from Debian's unstable suite, unpacked aside under
# target/age-tools: nothing is installed, no root is needed. Bookworm's age knows no post-quantum recipients.
# Quick when done before; without apt or network it says so and the tests skip what they cannot do.
set -euo pipefail

KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
cd "$(dirname "$0")/../.."
dir=${CARGO_TARGET_DIR:-target}/age-tools
[ -x "$dir/bin/rage" ] && exit 0

skip() {
    echo "fetch-age: $1; tests with new age and rage will be skipped" >&2
    exit 0
}

command -v apt-get > /dev/null || skip "no apt"
[ -r "$KEYRING" ] || skip "no $KEYRING"
mkdir -p "$dir"/{lists/partial,cache/archives/partial,packages,root,bin}
dir=$(cd "$dir" && pwd)
echo "deb [signed-by=$KEYRING] http://deb.debian.org/debian unstable main" > "$dir/sources.list"
apt=(apt-get -qq -o "Dir::Etc::sourcelist=$dir/sources.list" -o Dir::Etc::sourceparts=-
    -o "Dir::State::lists=$dir/lists" -o "Dir::Cache=$dir/cache" -o Debug::NoLocking=1
    -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false)
[ "$(id -u)" != 0 ] || apt+=(-o APT::Sandbox::User=root)

echo "fetch-age: fetching age and rage of Debian unstable into $dir" >&2
"${apt[@]}" update > /dev/null || skip "no package lists"
# rage needs a newer C library than stable has; its own is brought along.
(cd "$dir/packages" && "${apt[@]}" download age rage libc6 libgcc-s1 > /dev/null) || skip "no packages"
for package in "$dir"/packages/*.deb; do
    dpkg-deb -x "$package" "$dir/root"
done

# Wrappers find everything from their own place, so that target/ can be moved.
lib=$(cd "$dir" && dirname "$(find root -name libc.so.6)")
loader=$(cd "$dir" && find "$lib" -name 'ld*.so*' | head -n 1)
for program in "$dir"/root/usr/bin/{age,rage}*; do
    wrapper=$dir/bin/${program##*/}
    cat > "$wrapper" << EOF
#!/bin/sh
top=\${0%/*}/..
exec "\$top/$loader" --library-path "\$top/$lib" "\$top/root/usr/bin/${program##*/}" "\$@"
EOF
    chmod +x "$wrapper"
done
rm -r "$dir/lists" "$dir/cache" "$dir/packages"
"$dir/bin/age" --version > /dev/null || skip "the fetched age does not run"
