//! `vmcore-encrypt check` on a machine whose configuration is anything: kdump's and ours, the kernel's command line and
//! what it says of mounts and memory. The files are separated by bytes of zero; the first byte says whose kdump it is.

use std::fs;
use vmcore_encrypt::check::{Options, look};
use vmcore_encrypt::cli::encrypt::parse_words;

/// Whose kdump it may be.
const KDUMP: [&str; 3] = ["etc/kdump.conf", "etc/default/kdump-tools", "etc/sysconfig/kdump"];
/// What follows in the input.
const OTHERS: [&str; 4] =
    ["etc/vmcore-encrypt/config", "proc/cmdline", "proc/self/mountinfo", "proc/meminfo"];

/// Runs the target.
pub fn run(bytes: &[u8]) {
    let Some((&whose, files)) = bytes.split_first() else { return };
    let files: Vec<&[u8]> = files.split(|&byte| byte == 0).collect();
    let names = [KDUMP[usize::from(whose) % KDUMP.len()]].into_iter().chain(OTHERS);
    let root = tempfile::tempdir().unwrap();
    for (name, content) in names.zip(&files) {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let root = root.path().to_owned();
    let report =
        look(&Options { json: false, recipients_only: false, recipients_file: None, root, parse_words });
    assert!(report.text.chars().all(|char| char == '\n' || !char.is_control()));
    assert!(report.problems > 0, "a machine without recipients");
    let (kdump, ours) = (files[0], files.get(1).copied().unwrap_or_default());
    if !holds(kdump, b"vmcore-encrypt") && !holds(ours, b"TARGET") {
        assert!(report.text.contains("the dump would be in plain"), "{}", report.text);
    }
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
