//! `vmcore-decrypt kmsg [LOG...]`: a log that holds encrypted kernel messages among others, back into text.

use super::super::{Failure, Status, input_name, say, status, stdout};
use super::{PROGRAM, input};
use crate::kmsg::{Findings, Form, OpeningFindings, Reader, Unopened};
use clap::Args as ClapArgs;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// Longest line of a log that is read as one, in bytes; the rest is another line.
const MAX_LINE: u64 = 1 << 20;
/// How a dump or an encrypted log begins: an age file, or one in armor.
const AGE: [&[u8]; 2] = [b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----"];
/// Missing ranges that are named per opening.
const MAX_NAMED: usize = 20;

/// The arguments of `kmsg`.
#[derive(ClapArgs, Debug)]
#[command(after_help = status::help("Examples:
  vmcore-decrypt kmsg -i key.txt /var/log/syslog.1 /var/log/syslog
  journalctl -u vmcore-encrypt-kmsg | vmcore-decrypt kmsg -i key.txt

Wrong key: no identity or no key line for some lines. Damaged and truncated: of lines.", status::OPENING))]
pub(super) struct Args {
    /// Identity file: age identities, an ssh private key; - is standard input; repeatable
    #[arg(short = 'i', long = "identity", value_name = "FILE", required = true)]
    identities: Vec<PathBuf>,
    /// Print records as /dev/kmsg gives them, with priority, number and dictionary
    #[arg(long)]
    records: bool,

    /// The logs, oldest first; - is standard input
    #[arg(value_name = "LOG", default_value = "-")]
    logs: Vec<PathBuf>,
}

/// Runs the sub-command.
///
/// # Errors
/// The failure, as a message; or what the log lacks, after all of it was printed.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let identities = input::read_identities(&args.identities, &args.logs)?;
    let form = if args.records { Form::Records } else { Form::Text };
    let mut reader = Reader::new(&identities, form, stdout::text());
    let mut dump = None;
    for log in &args.logs {
        if read(log, &mut reader)? {
            dump.get_or_insert(log);
        }
    }
    let findings = reader.finish().map_err(|error| write_failure(&error))?;
    let hint = dump
        .map(|dump| format!("{} is a file of age; vmcore-decrypt dmesg prints its log", input_name(dump)));
    report(&findings)
        .map_err(|failure| if findings.openings.is_empty() { failure.maybe_hint(hint) } else { failure })
}

/// Reads a log; whether it is an age file, which has no such lines.
fn read<W: Write>(path: &Path, reader: &mut Reader<'_, W>) -> Result<bool, Failure> {
    let doing = || format!("reading {}", input_name(path));
    let mut log: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).map_err(|error| Failure::caused(doing(), &error))?))
    };
    let (mut line, mut is_age, mut is_first) = (Vec::new(), false, true);
    loop {
        line.clear();
        let length = (&mut log).take(MAX_LINE).read_until(b'\n', &mut line);
        if length.map_err(|error| Failure::caused(doing(), &error))? == 0 {
            return Ok(is_age);
        }
        is_age |= std::mem::take(&mut is_first) && AGE.iter().any(|start| line.starts_with(start));
        reader.line(&line).map_err(|error| write_failure(&error))?;
    }
}

fn write_failure(error: &io::Error) -> Failure {
    Failure::caused("writing to standard output", error)
}

/// Says what is not as it should be, and what that is worth.
fn report(findings: &Findings) -> Result<(), Failure> {
    findings.openings.iter().flat_map(remarks).for_each(|remark| say(PROGRAM, "warning", &remark));
    let missing = findings.openings.iter().flat_map(|opening| &opening.missing).map(length);
    // A forged number may be any.
    let missing = missing.fold(0_u64, u64::saturating_add);
    let false_ones =
        |opening: &OpeningFindings| opening.contradicting + opening.malformed + opening.misplaced;
    let false_ones: u64 = findings.openings.iter().map(false_ones).sum();
    let late: u64 = findings.openings.iter().map(|opening| opening.late).sum();
    let closed: u64 = findings
        .openings
        .iter()
        .filter(|opening| opening.unopened.is_some())
        .map(|opening| opening.lines)
        .sum();
    let failure =
        |status, what: String| Err(Failure::new(status, format!("decrypting the kernel log: {what}")));
    if findings.damaged > 0 {
        let lines: Vec<String> = findings.damaged_lines.iter().map(u64::to_string).collect();
        let more = if findings.damaged > lines.len() as u64 { ", ..." } else { "" };
        let what = format!("damaged lines: {}, in input line {}{more}", findings.damaged, lines.join(", "));
        failure(Status::Damaged, what)
    } else if false_ones > 0 {
        failure(
            Status::Damaged,
            format!("messages that contradict others, are out of place, or are no messages: {false_ones}"),
        )
    } else if late > 0 {
        failure(Status::Damaged, format!("lines out of order: {late}"))
            .map_err(|failure| failure.hint("name the logs oldest first; else somebody moved lines"))
    } else if closed > 0 || findings.openings.iter().any(|opening| opening.unopened.is_some()) {
        failure(Status::WrongKey, format!("lines that stay closed: {closed}"))
    } else if missing > 0 {
        failure(Status::Truncated, format!("missing lines: {missing}"))
    } else if findings.openings.is_empty() {
        failure(Status::Failure, "there is no encrypted line".to_owned())
    } else {
        Ok(())
    }
}

/// Sentences about one opening.
fn remarks(opening: &OpeningFindings) -> Vec<String> {
    let OpeningFindings {
        id, lines, repeated, contradicting, malformed, late, misplaced, overwritten, ..
    } = opening;
    let mut remarks = Vec::new();
    let closed = opening.unopened.as_ref().map(|reason| match reason {
        Unopened::NoKey => format!("opening {id}: lines without their key lines: {lines}"),
        Unopened::Key(error) => format!("opening {id}: lines that stay closed: {lines}: {error}"),
    });
    remarks.extend(closed);
    if !opening.missing.is_empty() {
        let named = opening.missing.iter().take(MAX_NAMED).map(|range| match length(range) {
            1 => range.start().to_string(),
            _ => format!("{} to {}", range.start(), range.end()),
        });
        let more = if opening.missing.len() > MAX_NAMED { ", ..." } else { "" };
        remarks.push(format!("opening {id}: missing lines {}{more}", named.collect::<Vec<_>>().join(", ")));
    }
    let counts = [
        (*late, "lines out of order"),
        (*repeated, "lines that came again"),
        (*contradicting, "messages that contradict others; a forger wrote one of each pair"),
        (*misplaced, "entries out of place; a forger wrote them"),
        (*malformed, "entries that are no kernel messages; a forger wrote them"),
        (*overwritten, "messages overwritten in the kernel before they were read"),
    ];
    let said = counts.into_iter().filter(|&(count, _)| count > 0);
    remarks.extend(said.map(|(count, what)| format!("opening {id}: {what}: {count}")));
    if opening.unopened.is_none() && !opening.ended {
        remarks.push(format!("opening {id}: no end line; it goes on elsewhere, was stopped, or is cut here"));
    }
    remarks
}

fn length(range: &std::ops::RangeInclusive<u64>) -> u64 {
    (range.end() - range.start()).saturating_add(1)
}
