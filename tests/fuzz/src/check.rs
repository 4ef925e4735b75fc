//! `vmcore-encrypt check` on a machine whose configuration is anything: kdump's and ours, the kernel's command line and
//! what it says of mounts and memory. The files are separated by bytes of zero; the first byte says whose kdump it is.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use vmcore_encrypt::cli::encrypt::check::{Args, look};

/// In the order of the input; the first one is kdump's.
const FILES: [&str; 4] = ["etc/vmcore-encrypt/config", "proc/cmdline", "proc/self/mountinfo", "proc/meminfo"];
const KDUMP: [&str; 3] = ["etc/kdump.conf", "etc/default/kdump-tools", "etc/sysconfig/kdump"];

/// A directory of this process, and in it everything a check reads that is not in the input.
static ROOT: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let root = tempfile::tempdir().unwrap();
    for name in FILES.iter().chain(&KDUMP) {
        fs::create_dir_all(root.path().join(name).parent().unwrap()).unwrap();
    }
    root
});

/// Runs the target.
pub fn run(bytes: &[u8]) {
    let Some((&whose, files)) = bytes.split_first() else { return };
    let mut files = files.split(|&byte| byte == 0);
    let kdump = files.next().unwrap_or_default();
    let root = ROOT.path();
    for (name, number) in KDUMP.into_iter().zip(0..) {
        place(root, name, (number == whose % 3).then_some(kdump));
    }
    let mut ours: &[u8] = &[];
    for name in FILES {
        let file = files.next();
        place(root, name, file);
        if name == FILES[0] {
            ours = file.unwrap_or_default();
        }
    }
    let args = Args { json: false, recipients_only: false, recipients_file: None, root: root.to_owned() };
    let report = look(&args);
    assert!(report.text.chars().all(|char| char == '\n' || !char.is_control()));
    assert!(report.problems > 0, "a machine without recipients");
    if !holds(kdump, b"vmcore-encrypt") && !holds(ours, b"TARGET") {
        assert!(report.text.contains("the dump would be in plain"), "{}", report.text);
    }
}

fn place(root: &Path, name: &str, content: Option<&[u8]>) {
    let path = root.join(name);
    match content {
        Some(content) => fs::write(path, content).unwrap(),
        None => drop(fs::remove_file(path)),
    }
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
