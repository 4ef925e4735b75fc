//! Pins: which set of recipients this machine may encrypt to, written in a place that is harder to change than the
//! recipients file: the kernel command line, or the program itself. Whoever swaps the recipients without the
//! pins gets no dump. What this is worth against whom: docs/threat-model.md.

mod compiled;

use crate::crypt::Recipients;
use std::fmt;

/// Name of the kernel parameter; its value is fingerprints, separated by commas.
pub(crate) const PARAMETER: &str = "vmcore_encrypt.recipients";

/// Characters of a fingerprint: SHA-256 in hex.
const FINGERPRINT_SIZE: usize = 64;

/// Where pins stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the program.
    Program,
    /// On the kernel command line.
    CommandLine,
}

/// The pins of one place: any of them will do there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pins {
    /// The place.
    pub place: Place,
    /// Fingerprints in lower-case hex, at least one.
    pub fingerprints: Vec<String>,
}

/// Why there is no encrypting.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The recipients are not those pinned at a place.
    #[error("the recipients' fingerprint {fingerprint} is not pinned {place}")]
    Mismatch {
        /// Fingerprint of the recipients.
        fingerprint: String,
        /// The place.
        place: Place,
    },
    /// A pin that is no fingerprint matches nothing.
    #[error("a pin {0} is not a fingerprint of 64 hex digits")]
    Malformed(Place),
    /// A word of the kernel command line that is meant for this program and pins nothing: a misspelt or future name, or
    /// one without a value. To pass over it would drop a pin in silence.
    #[error("unknown parameter {0:?} on the kernel command line")]
    Unknown(String),
}

impl Error {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Error::Mismatch { .. } => {
                "if the recipients were changed on purpose, pin what vmcore-encrypt fingerprint prints; if not, find out who changed them"
            }
            Error::Malformed(_) => "vmcore-encrypt fingerprint prints what to pin",
            Error::Unknown(_) => {
                "the only parameter is vmcore_encrypt.recipients=FINGERPRINT; correct the word or remove it"
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Place::Program => "in this program",
            Place::CommandLine => "on the kernel command line",
        })
    }
}

impl Pins {
    /// The pins that `VMCORE_ENCRYPT_PIN` gave to the program, if any.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub(crate) fn compiled() -> Result<Option<Pins>, Error> {
        Pins::in_program(compiled::COMPILED)
    }

    fn in_program(pins: Option<&str>) -> Result<Option<Pins>, Error> {
        Pins::parse(Place::Program, pins.filter(|pins| !pins.is_empty()))
    }

    /// The pins on a kernel command line (`/proc/cmdline`), if any.
    ///
    /// # Errors
    /// [`Error::Malformed`]; [`Error::Unknown`] for every other word whose name begins with `vmcore_encrypt`, also in
    /// other letter case.
    pub(crate) fn on_command_line(line: &str) -> Result<Option<Pins>, Error> {
        let mut values = Vec::new();
        for (name, value) in words(line) {
            let name_as_compared = name.replace('-', "_");
            match value {
                Some(value) if name_as_compared == PARAMETER => values.push(value),
                _ if is_ours(&name_as_compared) => return Err(Error::Unknown(name.to_owned())),
                _ => {}
            }
        }
        Pins::parse(Place::CommandLine, values)
    }

    fn parse<'a>(place: Place, values: impl IntoIterator<Item = &'a str>) -> Result<Option<Pins>, Error> {
        let is_pin =
            |pin: &str| pin.len() == FINGERPRINT_SIZE && pin.bytes().all(|byte| byte.is_ascii_hexdigit());
        let fingerprints: Vec<String> =
            values.into_iter().flat_map(|value| value.split(',')).map(str::to_ascii_lowercase).collect();
        if fingerprints.iter().all(|pin| is_pin(pin)) {
            Ok((!fingerprints.is_empty()).then_some(Pins { place, fingerprints }))
        } else {
            Err(Error::Malformed(place))
        }
    }

    /// Checks that the recipients are among the pinned ones.
    ///
    /// # Errors
    /// [`Error::Mismatch`].
    pub(crate) fn check(&self, recipients: &Recipients) -> Result<(), Error> {
        let fingerprint = recipients.fingerprint();
        if self.fingerprints.contains(&fingerprint) {
            Ok(())
        } else {
            Err(Error::Mismatch { fingerprint, place: self.place })
        }
    }
}

/// Whether a parameter's name (with `_` for `-`) is meant for this program.
fn is_ours(name: &str) -> bool {
    const PREFIX: &str = "vmcore_encrypt";
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// Splits a kernel command line into names and values as the kernel does: double quotes hold white space together and
/// go where they enclose a whole word or a whole value. Unlike the kernel's, the words after `--` count too: there a pin
/// would do nothing in silence. Source: Linux `lib/cmdline.c`, `next_arg`.
fn words(line: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let mut in_quotes = false;
    let ends_word = move |char: char| {
        in_quotes ^= char == '"';
        char.is_ascii_whitespace() && !in_quotes
    };
    line.split(ends_word).filter(|word| !word.is_empty()).map(|word| {
        let word = word.strip_prefix('"').map_or(word, |inner| inner.strip_suffix('"').unwrap_or(inner));
        match word.split_once('=') {
            Some((name, value)) => (name, Some(unquoted(value))),
            None => (word, None),
        }
    })
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').map_or(value, |inner| inner.strip_suffix('"').unwrap_or(inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPIENT: &str = "age1td9jgf5309nml0x4ff8k6hxzsp5xkhcst899de99fluxwk5ej9ssluv4wv";

    fn recipients() -> Recipients {
        Recipients::from_file_contents(RECIPIENT.as_bytes()).unwrap()
    }

    fn on_line(line: &str) -> Result<(), Error> {
        Pins::on_command_line(line)?.map_or(Ok(()), |pins| pins.check(&recipients()))
    }

    #[test]
    fn any_pin_of_a_place_will_do_and_none_is_no_pin() {
        let (own, other) = (recipients().fingerprint(), "0".repeat(64));
        for line in [
            String::new(),
            "root=/dev/sda quiet".to_owned(),
            format!("other.recipients={other}"),
            format!("ro {PARAMETER}={own} quiet"),
            format!("{PARAMETER}={other} {PARAMETER}={own}\n"),
            format!("{PARAMETER}={other},{}", own.to_uppercase()),
            format!("vmcore-encrypt.recipients=\"{own}\""),
        ] {
            assert_eq!(on_line(&line), Ok(()), "{line}");
        }
        let refused = Err(Error::Mismatch { fingerprint: own, place: Place::CommandLine });
        assert_eq!(on_line(&format!("{PARAMETER}={other}")), refused);
    }

    #[test]
    fn pins_of_the_program_bind_as_those_of_the_command_line() {
        let in_program = |pins| Pins::in_program(pins)?.map_or(Ok(()), |pins| pins.check(&recipients()));
        let (own, other) = (recipients().fingerprint(), "0".repeat(64));
        let both = format!("{other},{own}");
        for pins in [None, Some(""), Some(own.as_str()), Some(both.as_str())] {
            assert_eq!(in_program(pins), Ok(()), "{pins:?}");
        }
        let refused = Error::Mismatch { fingerprint: own.clone(), place: Place::Program };
        assert_eq!(in_program(Some(&other)), Err(refused));
        let malformed = Some(&own[1..]);
        assert_eq!(in_program(malformed), Err(Error::Malformed(Place::Program)));
    }

    #[test]
    fn a_word_that_is_meant_for_us_and_pins_nothing_is_refused() {
        let own = recipients().fingerprint();
        for word in [
            "vmcore_encrypt.recipients",
            "vmcore-encrypt.recipients",
            "vmcore_encrypt",
            "vmcore_encrypt=1",
            &format!("vmcore_encrypt.recipient={own}"),
            &format!("vmcore-encrypt.recipents={own}"),
            &format!("vmcore_encrypt.Recipients={own}"),
            &format!("VMCORE_ENCRYPT.RECIPIENTS={own}"),
            &format!("vmcore_encrypt_recipients={own}"),
            &format!("\"vmcore_encrypt.recipient={own}\""),
            &format!("vmcore_encrypt.recipients:{own}"),
        ] {
            for line in [word.to_owned(), format!("quiet {word} ro\n"), format!("{PARAMETER}={own} {word}")] {
                assert!(matches!(on_line(&line), Err(Error::Unknown(_))), "{line}");
            }
        }
        for line in
            ["systemd.unit=vmcore-encrypt-dump.service", "dyndbg=\"a vmcore_encrypt.x b\"", "vmcore=1"]
        {
            assert_eq!(on_line(line), Ok(()), "{line}");
        }
    }

    #[test]
    fn words_are_split_as_the_kernel_does() {
        let split = |line| words(line).collect::<Vec<_>>();
        assert_eq!(split("a  b=c\td=\"e f\"\n"), [("a", None), ("b", Some("c")), ("d", Some("e f"))]);
        assert_eq!(split("\"a b=c d\" e"), [("a b", Some("c d")), ("e", None)]);
        assert_eq!(split("a=\"b c"), [("a", Some("b c"))]);
    }

    #[test]
    fn a_pin_that_is_none_is_refused() {
        let own = recipients().fingerprint();
        for value in ["", ",", "none", &own[1..], &format!("{own},"), &own.replace(&own[..1], "g")] {
            let line = format!("{PARAMETER}={value}");
            assert_eq!(on_line(&line), Err(Error::Malformed(Place::CommandLine)), "{value}");
        }
    }
}
