//! `docs/options.md` says what becomes of each option of makedumpfile; here the program is asked.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test program")]

use std::process::{Command, Output};

const TABLE: &str = include_str!("../docs/options.md");
const RECIPIENT: &str = "age1td9jgf5309nml0x4ff8k6hxzsp5xkhcst899de99fluxwk5ej9ssluv4wv";

/// An option with its value's name, and its verdict.
fn rows() -> Vec<(Vec<String>, String)> {
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows = TABLE.lines().filter(|line| line.starts_with("| `-")).map(cells);
    rows.map(|row| (row[1].trim_matches('`').split(' ').map(str::to_owned).collect(), row[2].clone()))
        .collect()
}

fn ask(option: &[String]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmcore-encrypt"));
    command.args(["--check-params", "-r", RECIPIENT]).arg(&option[0]);
    match option.get(1).map(String::as_str) {
        None => &mut command,
        Some("SIZE") => command.arg("1M"),
        Some(value) if value.starts_with('N') => command.arg("1"),
        Some(_) if option[0] == "-R" => command.arg("/dev/stdin"),
        Some(_) => command.arg("x"),
    };
    if option[0] == "--partial-dmesg" {
        command.arg("--dump-dmesg");
    }
    command.arg("vmcore");
    if ["--split", "--reassemble"].contains(&option[0].as_str()) {
        command.args(["one", "two"]);
    }
    command.stdin(recipients()).output().unwrap()
}

/// A recipients file as standard input.
fn recipients() -> std::process::Stdio {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, RECIPIENT.as_bytes()).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    file.into()
}

#[test]
fn the_program_does_what_the_table_says() {
    let rows = rows();
    assert!(rows.len() > 35, "{}", rows.len());
    for (option, verdict) in rows {
        let output = ask(&option);
        let said = String::from_utf8(output.stderr).unwrap();
        let name = &option[0];
        let expected = match verdict.as_str() {
            "same" | "different" => output.status.success() && said.is_empty(),
            "no effect" => {
                output.status.success()
                    && said.starts_with(&format!("vmcore-encrypt: note: {name} has no effect: "))
            }
            "refused" => {
                output.status.code() == Some(1)
                    && said.starts_with(&format!(
                        "vmcore-encrypt: error: option {name} of makedumpfile is refused: "
                    ))
            }
            _ => false,
        };
        assert!(expected, "{option:?} {verdict}: {}, {said}", output.status);
    }
}

#[test]
fn combinations_that_contradict_themselves_are_refused() {
    for words in [
        "-E -c",
        "-E --num-threads 2",
        "--split",
        "--split -E",
        "--split -F",
        "--split --framed",
        "--split --dump-dmesg",
        "--dry-run --dump-dmesg",
        "--partial-dmesg",
        "--drop-page-structures --as-makedumpfile",
        "-d 32",
        "-d x",
        "-L 0",
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vmcore-encrypt"));
        command.args(["--check-params", "-r", RECIPIENT]).args(words.split(' ')).arg("vmcore");
        assert_eq!(command.output().unwrap().status.code(), Some(2), "{words}");
    }
}
