//! Pins that are compiled in: the one file that takes them from the environment is built with one, and without. What a
//! pin then does is tested in `src/pin.rs`, by `tests/cmd/encrypt/pins` and in a guest.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

use std::fs;
use std::path::Path;
use std::process::Command;

/// What the program has as its pins when this is in the environment of its build.
fn compiled(pin: Option<&str>) -> String {
    let home = tempfile::tempdir().unwrap();
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/pin/compiled.rs");
    let main = format!(
        "#[path = {module:?}]\nmod compiled;\nfn main() {{ print!(\"{{:?}}\", compiled::COMPILED); }}\n"
    );
    let (source, program) = (home.path().join("main.rs"), home.path().join("program"));
    fs::write(&source, main).unwrap();
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--edition", "2024", "-o"]).arg(&program).arg(&source).env_remove("VMCORE_ENCRYPT_PIN");
    rustc.envs(pin.map(|pin| ("VMCORE_ENCRYPT_PIN", pin)));
    let built = rustc.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    String::from_utf8(Command::new(&program).output().unwrap().stdout).unwrap()
}

#[test]
fn the_environment_of_the_build_pins() {
    let pins = format!("{},{}", "0".repeat(64), "a".repeat(64));
    assert_eq!(compiled(Some(&pins)), format!("Some(\"{pins}\")"));
    assert_eq!(compiled(None), "None");
}
