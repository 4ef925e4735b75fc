//! What `--version` prints after the version: which build of the program this is. `-v` prints the version alone.

use std::fmt::Write as _;
use std::sync::LazyLock;

/// The commit, which `make` names; cargo alone does not.
const COMMIT: Option<&str> = option_env!("VMCORE_ENCRYPT_COMMIT");
/// Features, and whether this build has them.
const FEATURES: [(&str, bool); 5] = [
    ("analyst", cfg!(feature = "analyst")),
    ("check", cfg!(feature = "check")),
    ("convert", cfg!(feature = "convert")),
    ("remote", cfg!(feature = "remote")),
    ("upload", cfg!(feature = "upload")),
];

/// The text for the collector, whose first line scripts parse as makedumpfile's: `name: version X`.
pub(super) fn collector() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let stores = if cfg!(feature = "upload") { ", object storage by URL" } else { "" };
        let targets = format!("targets: file, standard output, raw partition{stores}\n");
        format!("version {}", text(&targets))
    });
    &TEXT
}

/// The text for the analyst's program.
#[cfg(feature = "analyst")]
pub(super) fn analyst() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| text(""));
    &TEXT
}

/// How to get a program with a feature that this build lacks.
pub(super) fn how_to_get(feature: &str) -> String {
    format!("a build with the feature {feature} has it: cargo build --release -F {feature}")
}

fn text(targets: &str) -> String {
    let mut text = format!("{}\n", env!("CARGO_PKG_VERSION"));
    let features: Vec<&str> =
        FEATURES.iter().filter_map(|&(name, is_built)| is_built.then_some(name)).collect();
    let features = if features.is_empty() { "none".to_owned() } else { features.join(", ") };
    let linked = if cfg!(target_feature = "crt-static") { ", static" } else { "" };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "commit: {}", COMMIT.filter(|commit| !commit.is_empty()).unwrap_or("unknown"));
    let _ = writeln!(text, "features: {features}");
    text.push_str(targets);
    let _ = writeln!(text, "built for: {} Linux{linked}", std::env::consts::ARCH);
    let _ = write!(text, "cipher here: ChaCha20 by {}", crate::crypt::stream::cipher_instructions());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_version_and_features_follow() {
        let lines: Vec<&str> = collector().lines().collect();
        assert_eq!(lines[0], concat!("version ", env!("CARGO_PKG_VERSION")));
        let starts = lines[1..].iter().map(|line| line.split(':').next().unwrap());
        assert_eq!(starts.collect::<Vec<_>>(), ["commit", "features", "targets", "built for", "cipher here"]);
        for (name, is_built) in FEATURES {
            assert_eq!(lines[2].contains(name), is_built, "{name}");
        }
    }
}
