//! makedumpfile's options that this collector does not have: each is known by name, and either does nothing
//! here, which is reported, or is refused with the reason. `docs/options.md` has the whole table.

use super::super::{Failure, Status, say};
use super::PROGRAM;
use Verdict::{NoEffect, Refused};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, parser::ValueSource};

/// An option of makedumpfile's. Source: makedumpfile(8).
struct Foreign {
    /// As typed, with its dashes.
    name: &'static str,
    value: Value,
    verdict: Verdict,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    Taken,
    None,
}

#[derive(Clone, Copy)]
enum Verdict {
    /// Taken, and without effect for this reason.
    NoEffect(&'static str),
    /// Refused for this reason.
    Refused(&'static str),
}

const MEMORY: &str = "memory use does not depend on the size of RAM";
const XEN: &str = "Xen dumps are not supported";
const SYMBOLS: &str = "VMCOREINFO of the vmcore is all that filtering needs";
const ERASE: &str = "data are not erased from the dump; the dump is encrypted";

const OPTIONS: &[Foreign] = &[
    option("-E", Value::None, NoEffect("an ELF core is made by vmcore-decrypt --format elf")),
    option("--cyclic-buffer", Value::Taken, NoEffect(MEMORY)),
    option("--work-dir", Value::Taken, NoEffect("no working file is needed")),
    option("-b", Value::Taken, NoEffect("writes are always large")),
    option("--splitblock-size", Value::Taken, NoEffect("parts end at multiples of 32768 pages")),
    #[cfg(not(feature = "convert"))]
    option(
        "--reassemble",
        Value::None,
        Refused(
            "this build, which is for an initramfs, reads /proc/vmcore; the full vmcore-encrypt joins parts",
        ),
    ),
    option("--mem-usage", Value::Taken, Refused("vmcore-encrypt estimate tells how large a dump would be")),
    option("-x", Value::Taken, Refused(SYMBOLS)),
    option("-i", Value::Taken, Refused(SYMBOLS)),
    option("-g", Value::Taken, Refused(SYMBOLS)),
    option(
        "-e",
        Value::None,
        Refused("page structures that describe only pages that are left out are left out by default"),
    ),
    option("--config", Value::Taken, Refused(ERASE)),
    option("--eppic", Value::Taken, Refused(ERASE)),
    option("--extension", Value::Taken, Refused("filters are built in")),
    option("--vtop", Value::Taken, Refused("crash has it")),
    option("-X", Value::None, Refused(XEN)),
    option("--xen-syms", Value::Taken, Refused(XEN)),
    option("--xen-vmcoreinfo", Value::Taken, Refused(XEN)),
    option("--xen_phys_start", Value::Taken, Refused(XEN)),
    option("--diskset", Value::Taken, Refused("sadump input is not supported")),
];

const fn option(name: &'static str, value: Value, verdict: Verdict) -> Foreign {
    Foreign { name, value, verdict }
}

impl Foreign {
    fn arg(&self) -> Arg {
        let arg = Arg::new(self.name).hide(true);
        let arg = match self.name.strip_prefix("--") {
            Some(word) => arg.long(word),
            None => arg.short(self.name.chars().nth(1)),
        };
        match self.value {
            Value::Taken => arg.action(ArgAction::Append).allow_hyphen_values(true),
            Value::None => arg.action(ArgAction::SetTrue),
        }
    }
}

/// The options of makedumpfile's that were typed.
#[derive(Debug, Default)]
pub(super) struct ForeignArgs(Vec<usize>);

impl ForeignArgs {
    /// Reports what has no effect.
    pub(super) fn report(&self) {
        for option in self.typed() {
            if let NoEffect(why) = option.verdict {
                say(PROGRAM, "note", &format!("{} has no effect: {why}", option.name));
            }
        }
    }

    /// Refuses what is not done.
    ///
    /// # Errors
    /// The first option that is refused.
    pub(super) fn refuse(&self) -> Result<(), Failure> {
        self.typed().try_for_each(|option| match option.verdict {
            NoEffect(_) => Ok(()),
            Refused(why) => {
                let message = format!("option {} of makedumpfile is refused: {why}", option.name);
                Err(Failure::new(Status::Failure, message))
            }
        })
    }

    fn typed(&self) -> impl Iterator<Item = &'static Foreign> {
        self.0.iter().filter_map(|&at| OPTIONS.get(at))
    }

    /// Whether an option was typed.
    pub(super) fn has(&self, name: &str) -> bool {
        self.typed().any(|option| option.name == name)
    }
}

impl Args for ForeignArgs {
    fn augment_args(command: Command) -> Command {
        command.args(OPTIONS.iter().map(Foreign::arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        ForeignArgs::augment_args(command)
    }
}

impl FromArgMatches for ForeignArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<ForeignArgs, clap::Error> {
        let typed = |option: &Foreign| matches.value_source(option.name) == Some(ValueSource::CommandLine);
        Ok(ForeignArgs((0..OPTIONS.len()).filter(|&at| typed(&OPTIONS[at])).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = ForeignArgs::from_arg_matches(matches)?;
        Ok(())
    }
}
