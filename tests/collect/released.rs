//! What 0.1.0 wrote opens with every command, from a file and through a pipe, and so does what damage leaves of it. The
//! samples in `tests/vectors/released` are of a synthetic machine, each ended early by a size limit: a dump, one in the
//! frame of `--framed`, and one on a device of 640 KiB that was swap space.

use crate::common::{decrypt, encrypt, run, scratch, text, top};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use vmcore_encrypt::unstable::raw::RECORD_LEN;

const SAMPLES: [&str; 3] = ["dump.age", "framed", "device"];
/// A dump that a size limit ended is whole, or reported as incomplete.
const OPENED: [Option<i32>; 3] = [Some(0), Some(6), Some(7)];

fn sample(name: &str) -> PathBuf {
    top().join("tests/vectors/released").join(name)
}

fn with_key(command: &str) -> Command {
    let mut program = decrypt();
    if !command.is_empty() {
        program.arg(command);
    }
    program.arg("-i").arg(top().join("tests/vectors/identity.txt"));
    program
}

fn opened(output: &Output, what: &str) {
    assert!(OPENED.contains(&output.status.code()), "{what}: {}", text(&output.stderr));
}

#[test]
fn every_command_opens_what_0_1_0_wrote() {
    let dir = scratch("released");
    for name in SAMPLES {
        let path = sample(name);
        let info = run(with_key("info").arg(&path));
        opened(&info, name);
        assert!(text(&info.stdout).contains("vmcore-encrypt 0.1.0"), "{name}");
        let verified = run(with_key("verify").arg(&path));
        opened(&verified, name);
        let piped = run(with_key("verify").arg("-").stdin(File::open(&path).unwrap()));
        opened(&piped, name);
        let counts = |output: &Output| text(&output.stdout).split_once(": ").unwrap().1.to_owned();
        assert_eq!(counts(&verified), counts(&piped), "{name}");
        for options in [&[][..], &["--salvage"], &["--format", "elf"]] {
            opened(&run(with_key("").args(options).args(["-f"]).arg(&path).arg(dir.join("restored"))), name);
            assert!(fs::metadata(dir.join("restored")).unwrap().len() > 1 << 16, "{name}");
        }
        let recipient = fs::read_to_string(top().join("tests/vectors/identity.txt")).unwrap();
        let recipient =
            recipient.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap().to_owned();
        opened(&run(with_key("rewrap").args(["-f", "-r", &recipient]).arg(&path).arg(dir.join("new"))), name);
        opened(&run(with_key("verify").arg(dir.join("new"))), name);
        let log = run(with_key("dmesg").arg(&path));
        opened(&log, name);
        assert!(text(&log.stdout).contains("synth: message 299"), "{name}");
    }
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn what_0_1_0_left_on_a_partition_is_collected() {
    let dir = scratch("released-collect");
    for name in ["framed", "device"] {
        fs::copy(sample(name), dir.join("partition")).unwrap();
        let mut collect = encrypt();
        collect
            .arg("collect")
            .arg("--device")
            .arg(dir.join("partition"))
            .arg("--dest")
            .arg(dir.join("crash"));
        let output = run(&mut collect);
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
        let file = fs::read_dir(dir.join("crash")).unwrap().next().unwrap().unwrap().path();
        opened(&run(with_key("verify").arg(&file)), name);
        let beginning = fs::read(dir.join("partition")).unwrap();
        assert_eq!(beginning[4086..4096] == *b"SWAPSPACE2", name == "device");
        fs::remove_dir_all(dir.join("crash")).unwrap();
    }
    fs::remove_dir_all(dir).unwrap();
}

fn salvage(path: &Path, piped: bool, out: &Path) -> (Output, u64) {
    let mut restore = with_key("");
    restore.args(["--salvage", "-f"]);
    if piped {
        restore.arg("-").stdin(File::open(path).unwrap())
    } else {
        restore.arg(path)
    };
    let output = run(restore.arg(out));
    let info = fs::metadata(out).map_or(0, |metadata| metadata.len());
    (output, info)
}

#[test]
fn one_bit_in_a_frame_costs_one_chunk_at_most() {
    let dir = scratch("released-damaged");
    let (path, out) = (dir.join("device"), dir.join("out"));
    let good = fs::read(sample("device")).unwrap();
    let (_, whole) = salvage(&sample("device"), false, &out);
    let start = 2 * 4096;
    let places =
        [0, 20, 30, 41, 50, 65, start + 3, start + 13, start + RECORD_LEN + 20, start + RECORD_LEN + 44];
    for at in places {
        let mut damaged = good.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, damaged).unwrap();
        for piped in [false, true] {
            let (output, len) = salvage(&path, piped, &out);
            opened(&output, &format!("byte {at}, piped {piped}"));
            assert_eq!(len, whole, "byte {at}, piped {piped}");
        }
        for command in ["info", "verify"] {
            opened(&run(with_key(command).arg(&path)), &format!("byte {at}, {command}"));
        }
    }
    // Inside a record one chunk is lost, and all after it is there.
    let mut damaged = good;
    damaged[start + RECORD_LEN + 48 + 100_000] ^= 0x10;
    fs::write(&path, damaged).unwrap();
    for piped in [false, true] {
        let (output, len) = salvage(&path, piped, &out);
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(4) && said.contains("1 chunks of"), "{said}");
        assert!(len > whole / 2, "{len} of {whole}");
    }
    fs::remove_dir_all(dir).unwrap();
}
