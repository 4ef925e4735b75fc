//! Words of a configured collector line, judged by the command line that will get them after a crash.

use super::super::usage;
use super::{Cli, PROGRAM};
use crate::check::{Line, Output};
use clap::Parser;
use std::path::Path;

const VMCORE: &str = "/proc/vmcore";
/// Stands for the file that kdump scripts append.
const DUMP: &str = "/var/crash/vmcore-incomplete";

/// Stands for the URL of a store.
const STORE: &str = "s3://bucket/prefix/";

/// Judges the words between the program's name and what kdump scripts append.
///
/// # Errors
/// Why these words cannot save a dump.
pub fn parse(words: &[&str], output: Output) -> Result<Line, String> {
    let appended: &[&str] = match output {
        Output::File => &[VMCORE, DUMP],
        Output::Stdout => &[VMCORE],
        Output::Store => &[VMCORE, STORE],
    };
    let line = [PROGRAM].iter().chain(words).chain(appended);
    let cli = Cli::try_parse_from(line).map_err(|error| usage::sentence(&error))?;
    let Cli { command: None, dump: Some(args), .. } = cli else {
        return Err("a sub-command saves no dump".to_owned());
    };
    if args.vmcore != Path::new(VMCORE) {
        return Err(format!("{:?} would be taken for the vmcore", args.vmcore));
    }
    args.refuse().map_err(|failure| failure.message().to_owned())?;
    args.recipients.refuse().map_err(|failure| failure.message().to_owned())?;
    if output == Output::Store {
        args.places().map_err(|failure| failure.message().to_owned())?;
    }
    if !args.saves() {
        return Err("--dump-dmesg, --check-params and --dry-run save no dump".to_owned());
    }
    Ok(Line {
        levels: args.levels().to_vec(),
        limit: args.limit(),
        marks_end: args.marks_end(),
        recipients_files: args.recipients.named_files().to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(words: &str, output: Output) -> Result<Line, String> {
        parse(&words.split_whitespace().collect::<Vec<_>>(), output)
    }

    #[test]
    fn words_that_can_save() {
        let line = judged("-d 1,17 -L 600M -R /etc/team --num-threads 2", Output::File).unwrap();
        assert_eq!(line.levels.iter().map(|level| level.get()).collect::<Vec<_>>(), [1, 17]);
        assert_eq!((line.limit, line.marks_end), (Some(600 << 20), false));
        assert_eq!(line.recipients_files, [Path::new("/etc/team")]);
        assert!(judged("", Output::File).is_ok());
        assert!(judged("--framed -d 31", Output::Stdout).unwrap().marks_end);
        assert!(judged("--output-device /dev/disk/by-id/x", Output::Stdout).unwrap().marks_end);
        assert!(judged("-E -c --message-level 7 -F", Output::Stdout).is_err(), "-E does not go with -c");
        assert!(judged("-E --message-level 7 -F", Output::Stdout).is_ok());
    }

    #[test]
    fn words_that_can_never_save() {
        for words in [
            "-d 310",
            "-d",
            "-x vmlinux",
            "--levle 31",
            "-F",
            "--framed",
            "--output-device /dev/sda1",
            "--dump-dmesg",
            "--dry-run",
            "--check-params",
            "--version",
            "--help",
            "check",
            "dmesg",
            "/dev/mem",
            "--split",
            "--passphrase",
            "-r age1typo",
            "-L x",
        ] {
            assert!(judged(words, Output::File).is_err(), "{words}");
        }
        assert!(judged("/dev/mem", Output::Stdout).unwrap_err().contains("taken for the vmcore"));
        assert!(judged("-d 1,31 -L 9M", Output::Stdout).is_err(), "what went out cannot be taken back");
        assert!(!judged("-d 310", Output::File).unwrap_err().contains('\n'));
    }
}
