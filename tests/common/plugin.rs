//! age plugins of the tests' own making: shell scripts in the place of programs (C2SP age-plugin.md).

use super::executable;
use std::path::{Path, PathBuf};

/// A plugin that "wraps" the file key by writing it down, and gives it back. With `refused` in one of its recipients it
/// wraps nothing.
pub(crate) const WRITES_DOWN: &str = r#"#!/bin/sh
case "$1" in
--age-plugin=recipient-v1)
    while read -r line; do
        case "$line" in
        *refused*) refuse=yes ;;
        "-> wrap-file-key") read -r key ;;
        "-> done") read -r _; break ;;
        esac
    done
    if [ "$refuse" ]; then
        printf -- '-> error internal\n%s\n' "$(printf 'no\nthank\033you' | base64 | tr -d =)"
    else
        printf -- '-> recipient-stanza 0 written-down\n%s\n' "$key"
    fi ;;
--age-plugin=identity-v1)
    while read -r line; do
        case "$line" in
        "-> recipient-stanza 0 written-down") read -r key ;;
        "-> done") read -r _; break ;;
        esac
    done
    [ "$key" ] && printf -- '-> file-key 0\n%s\n' "$key" ;;
esac
[ "$key$refuse" ] && { read -r _; read -r _; }
printf -- '-> done\n\n'
"#;

/// Writes the program of plugin `name` into `directory`.
pub(crate) fn install(directory: &Path, name: &str, script: &str) -> PathBuf {
    let program = directory.join(format!("age-plugin-{name}"));
    executable(&program, script);
    program
}

/// A recipient of plugin `name`, of one byte of data.
pub(crate) fn recipient(name: &str) -> String {
    encoded(&format!("age1{name}"), b"x")
}

/// An identity of plugin `name`, of one byte of data.
pub(crate) fn identity(name: &str) -> String {
    encoded(&format!("age-plugin-{name}-"), b"x").to_uppercase()
}

/// In bech32, as age has recipients and identities.
pub(crate) fn encoded(prefix: &str, data: &[u8]) -> String {
    age_core::primitives::bech32_encode(bech32::Hrp::parse(prefix).unwrap(), data)
}
