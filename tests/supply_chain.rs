//! What the programs are made of: licences and duplicate versions of dependencies by the lists of `.cargo/deny.toml`,
//! registries, and where `unsafe` may stand. Runs without network; `cargo deny check advisories` needs it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test program")]

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The dependencies on this platform: name, version, licence, source.
fn packages() -> Vec<[String; 4]> {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--frozen", "--filter-platform", &platform]);
    let output = cargo.current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |package: &Value, key: &str| package[key].as_str().unwrap_or_default().to_owned();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages.map(|package| ["name", "version", "license", "source"].map(|key| text(package, key))).collect()
}

/// The quoted texts of a list in `.cargo/deny.toml`: of each line the first.
fn listed(list: &str) -> Vec<String> {
    let file = fs::read_to_string(root().join(".cargo/deny.toml")).unwrap();
    let (_, rest) = file.split_once(&format!("\n{list} = [\n")).unwrap();
    let (lines, _) = rest.split_once("\n]").unwrap();
    let items = lines.lines().filter(|line| !line.trim_start().starts_with('#'));
    items.map(|line| line.split('"').nth(1).unwrap().to_owned()).collect()
}

/// Whether an SPDX expression (or the older `A/B`) can be met with allowed licences alone.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.trim();
    // Splits outside parentheses; OR binds weaker than AND.
    let split = |word: &str| {
        let depth = |at: usize| {
            let before = &expression[..at];
            before.matches('(').count() - before.matches(')').count()
        };
        let at = expression.match_indices(word).map(|(at, _)| at).find(|&at| depth(at) == 0)?;
        Some((&expression[..at], &expression[at + word.len()..]))
    };
    if let Some((left, right)) = split(" OR ").or_else(|| split("/")) {
        return is_allowed(left, allowed) || is_allowed(right, allowed);
    }
    if let Some((left, right)) = split(" AND ") {
        return is_allowed(left, allowed) && is_allowed(right, allowed);
    }
    match expression.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
        Some(inner) => is_allowed(inner, allowed),
        None => allowed.iter().any(|licence| licence == expression),
    }
}

#[test]
fn licences_are_read_as_spdx_says() {
    let allowed = ["MIT".to_owned(), "Zlib".to_owned()];
    for good in ["MIT", "GPL-2.0-only OR MIT", "MIT/Apache-2.0", "(X OR MIT) AND Zlib", "X AND Y OR Zlib"] {
        assert!(is_allowed(good, &allowed), "{good}");
    }
    for bad in ["", "X", "MIT AND X", "(X OR Y) AND MIT", "MIT WITH X"] {
        assert!(!is_allowed(bad, &allowed), "{bad}");
    }
}

#[test]
fn every_licence_is_on_the_list() {
    let (allowed, judges) = (listed("allow"), listed("exceptions"));
    for [name, version, licence, _] in packages().into_iter().filter(|[name, ..]| !judges.contains(name)) {
        assert!(is_allowed(&licence, &allowed), "{name} {version}: licence {licence:?}");
    }
}

/// What has another licence judges in tests, and is linked into no program whatever its features.
#[test]
fn judges_with_other_licences_are_in_no_program() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--frozen", "--all-features", "--prefix=none"]);
    let output = cargo.args(["--edges=normal,build"]).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let linked = |name: &str| tree.lines().any(|line| line.split(' ').next() == Some(name));
    assert!(linked("zstd"), "{tree}");
    for name in listed("exceptions") {
        assert!(
            packages().iter().any(|package| package[0] == name),
            "{name} is not used: drop its exception"
        );
        assert!(!linked(&name), "{name} is linked into a program");
    }
}

#[test]
fn every_dependency_comes_from_the_registry() {
    for [name, version, _, source] in packages() {
        let ours = name == env!("CARGO_PKG_NAME") && source.is_empty();
        assert!(
            ours || source.starts_with("registry+https://github.com/rust-lang/crates.io-index"),
            "{name} {version}: {source}"
        );
    }
}

#[test]
fn two_versions_of_a_crate_have_a_reason() {
    let skipped = listed("skip");
    let is_skipped = |name: &str, version: &str| {
        skipped.iter().any(|skip| {
            let (skip, prefix) = skip.split_once('@').unwrap();
            skip == name && version.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'))
        })
    };
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for [name, version, ..] in packages() {
        if !is_skipped(&name, &version) {
            versions.entry(name).or_default().push(version);
        }
    }
    versions.retain(|_, versions| versions.len() > 1);
    assert!(versions.is_empty(), "give a reason in .cargo/deny.toml, or fewer versions: {versions:?}");
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[test]
fn unsafe_stands_in_one_small_file_with_reasons() {
    let mut files = Vec::new();
    for path in sources(&root().join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let blocks: Vec<usize> = (0..lines.len())
            .filter(|&at| lines[at].contains("unsafe {") || lines[at].contains("unsafe impl"))
            .collect();
        for &at in &blocks {
            let reason = lines[at.saturating_sub(6)..at].iter().any(|line| line.contains("SAFETY:"));
            assert!(reason, "{}:{}: no SAFETY comment", path.display(), at + 1);
        }
        if !blocks.is_empty() {
            assert!(blocks.len() <= 3 && lines.len() < 200, "{} is no small file", path.display());
            files.push(path);
        }
    }
    assert!(files.len() <= 1, "{files:?}");
}

/// zstd's C code is built with stack canaries: in a linked program they show as a symbol that nothing else here needs.
/// `_FORTIFY_SOURCE` is asked for too; zstd copies by pointer alone, so that the compiler finds no copy to check.
#[test]
fn zstd_is_built_hardened() {
    let config = fs::read_to_string(root().join(".cargo/config.toml")).unwrap();
    // The cc crate adds those of both kinds of build to a caller's CFLAGS.
    for variable in ["HOST_CFLAGS", "TARGET_CFLAGS"] {
        let line = config.lines().find(|line| line.starts_with(variable)).unwrap_or_default();
        for flag in ["-fstack-protector-strong", "-D_FORTIFY_SOURCE=3"] {
            assert!(line.contains(flag), "{variable}: {flag}");
        }
    }
    for program in [env!("CARGO_BIN_EXE_vmcore-encrypt"), env!("CARGO_BIN_EXE_vmcore-decrypt")] {
        let bytes = fs::read(program).unwrap();
        let elf = goblin::elf::Elf::parse(&bytes).unwrap();
        let imports =
            |name: &str| elf.dynsyms.iter().any(|sym| elf.dynstrtab.get_at(sym.st_name) == Some(name));
        assert!(imports("__stack_chk_fail"), "{program}");
    }
}
