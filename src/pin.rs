//! Pins: which set of recipients this machine may encrypt to, said in a place that is harder to change than the
//! recipients file: the kernel command line, or the program itself. Whoever swaps the recipients without the
//! pins gets no dump. What this is worth against whom: docs/threat-model.md.

mod compiled;

use crate::crypt::Recipients;
use std::fmt;

/// Name of the kernel parameter; its value is fingerprints, separated by commas.
pub const PARAMETER: &str = "vmcore_encrypt.recipients";

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
pub struct Pins {
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
    pub fn compiled() -> Result<Option<Pins>, Error> {
        Pins::in_program(compiled::COMPILED)
    }

    fn in_program(pins: Option<&str>) -> Result<Option<Pins>, Error> {
        Pins::parse(Place::Program, pins.filter(|pins| !pins.is_empty()))
    }

    /// The pins on a kernel command line (`/proc/cmdline`), if any. As the kernel does, takes `-` for `_` in the
    /// name, and a value in quotes.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn on_command_line(line: &str) -> Result<Option<Pins>, Error> {
        let values = line.split_whitespace().filter_map(|word| {
            let (name, value) = word.trim_matches('"').split_once('=')?;
            (name.replace('-', "_") == PARAMETER).then(|| value.trim_matches('"'))
        });
        Pins::parse(Place::CommandLine, values)
    }

    fn parse<'a>(place: Place, values: impl IntoIterator<Item = &'a str>) -> Result<Option<Pins>, Error> {
        let is_pin =
            |pin: &str| pin.len() == FINGERPRINT_SIZE && pin.bytes().all(|byte| byte.is_ascii_hexdigit());
        let fingerprints: Vec<String> =
            values.into_iter().flat_map(|value| value.split(',')).map(str::to_ascii_lowercase).collect();
        match fingerprints.iter().all(|pin| is_pin(pin)) {
            true => Ok((!fingerprints.is_empty()).then_some(Pins { place, fingerprints })),
            false => Err(Error::Malformed(place)),
        }
    }

    /// Checks that the recipients are among the pinned ones.
    ///
    /// # Errors
    /// [`Error::Mismatch`].
    pub fn check(&self, recipients: &Recipients) -> Result<(), Error> {
        let fingerprint = recipients.fingerprint();
        match self.fingerprints.contains(&fingerprint) {
            true => Ok(()),
            false => Err(Error::Mismatch { fingerprint, place: self.place }),
        }
    }
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
    fn a_pin_that_is_none_is_refused() {
        let own = recipients().fingerprint();
        for value in ["", ",", "none", &own[1..], &format!("{own},"), &own.replace(&own[..1], "g")] {
            let line = format!("{PARAMETER}={value}");
            assert_eq!(on_line(&line), Err(Error::Malformed(Place::CommandLine)), "{value}");
        }
    }
}
