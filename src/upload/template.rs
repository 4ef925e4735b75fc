//! How a dump is called in a store. The name tells the store who crashed when, so by default it has the time, a hash of
//! the machine's id that only this program makes, and random digits: two dumps never have the same name.

use crate::text::rfc3339;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// What this program is to the hash: `systemd-id128 machine-id --app-specific=` with this UUID gives the same.
const APPLICATION: [u8; 16] =
    [0x6d, 0x1f, 0x54, 0xb7, 0x53, 0x0c, 0x4e, 0x1a, 0x9a, 0x6c, 0x2b, 0x7d, 0x4f, 0x0e, 0x88, 0x31];
/// The most characters of a name.
const MAX_NAME: usize = 200;

/// A checked template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(String);

/// What a name can be made of.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Now, by this machine's clock.
    pub now: SystemTime,
    /// Host name of the capture kernel.
    pub host: String,
    /// `/etc/machine-id`, if there is one.
    pub machine_id: Option<String>,
    /// Random bits.
    pub random: u64,
}

impl Template {
    /// The words that are replaced.
    const WORDS: [&str; 4] = ["{date}", "{machine}", "{random}", "{host}"];

    /// Takes a template of letters, digits, `.`, `_`, `-`, `=`, `/` and `{date}`, `{machine}`, `{random}`, `{host}`. One
    /// without `{random}` gets it at its end, since no name may come twice.
    ///
    /// # Errors
    /// Why it is invalid.
    pub(crate) fn parse(text: &str) -> Result<Template, String> {
        let rest = Template::WORDS.iter().fold(text.to_owned(), |rest, word| rest.replace(word, "x"));
        if let Some(bad) = rest.chars().find(|char| !is_plain(*char) && *char != '/') {
            return Err(format!("{bad:?} cannot be in a name; the words are {}", Template::WORDS.join(" ")));
        }
        if rest.is_empty()
            || rest.len() > MAX_NAME
            || rest.split('/').any(|part| matches!(part, "" | "." | ".."))
        {
            return Err("a name has 1 to 200 characters and no empty part".to_owned());
        }
        let random = if text.contains("{random}") { "" } else { "-{random}" };
        Ok(Template(format!("{text}{random}")))
    }

    /// A name.
    #[must_use]
    pub(crate) fn name(&self, facts: &Facts) -> String {
        let machine =
            facts.machine_id.as_deref().and_then(machine_hash).unwrap_or_else(|| "unknown".to_owned());
        self.0
            .replace("{date}", &date(facts.now))
            .replace("{machine}", &machine)
            .replace("{random}", &format!("{:016x}", facts.random))
            .replace("{host}", &plain(&facts.host))
    }
}

fn is_plain(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-' | '=')
}

/// A host name may hold anything, from DHCP perhaps: it stays one part of the name.
fn plain(host: &str) -> String {
    let host: String = host.chars().take(64).map(|char| if is_plain(char) { char } else { '_' }).collect();
    if host.trim_matches('.').is_empty() { "unknown".to_owned() } else { host }
}

/// The hash of a machine id for this program, 32 hex digits; `None` for what is no id. Source: systemd
/// `sd_id128_get_machine_app_specific(3)`: HMAC-SHA256 of the application's id, keyed by the machine's, as a UUID of
/// version 4.
#[must_use]
pub(crate) fn machine_hash(id: &str) -> Option<String> {
    let id = id.trim();
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let key = u128::from_str_radix(id, 16).ok().filter(|&id| is_id && id != 0)?.to_be_bytes();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(&APPLICATION);
    let mut hash = mac.finalize().into_bytes();
    hash[6] = (hash[6] & 0x0f) | 0x40;
    hash[8] = (hash[8] & 0x3f) | 0x80;
    Some(hash[..16].iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// `20260102T030405Z`. A clock before 1970 or after the year 9999 counts as one at 1970.
fn date(now: SystemTime) -> String {
    let text = rfc3339(now).or_else(|| rfc3339(UNIX_EPOCH)).unwrap_or_default();
    text.replace(['-', ':'], "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn facts(host: &str) -> Facts {
        Facts {
            now: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            host: host.to_owned(),
            machine_id: Some("0123456789abcdef0123456789abcdef\n".to_owned()),
            random: 0xab,
        }
    }

    #[test]
    fn a_name_is_made_of_facts_and_ends_in_chance() {
        let name = |template: &str, host: &str| Template::parse(template).unwrap().name(&facts(host));
        assert_eq!(name("{date}", "h"), "20231114T221320Z-00000000000000ab");
        assert_eq!(name("a/{host}_{random}", "h.example"), "a/h.example_00000000000000ab");
        assert!(name("{machine}", "h").len() == 32 + 17 && !name("{machine}", "h").contains("0123456789"));
        for (host, shown) in [
            ("../../x", ".._.._x"),
            ("", "unknown"),
            ("..", "unknown"),
            ("a b\n", "a_b_"),
            ("%2e%2e\\", "_2e_2e_"),
        ] {
            assert_eq!(name("{host}", host), format!("{shown}-00000000000000ab"));
        }
    }

    #[test]
    fn what_leaves_the_prefix_is_no_template() {
        for bad in
            ["", "/a", "a/", "a//b", "../a", "a/./b", "{hostname}", "a b", "a?b", "a%2fb", "\u{e9}", "{"]
        {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
        assert!(Template::parse(&"a".repeat(201)).is_err());
    }

    #[test]
    fn dates_are_the_calendars() {
        let of = |seconds| date(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(of(0), "19700101T000000Z");
        assert_eq!(of(951_782_400), "20000229T000000Z");
        assert_eq!(of(951_868_799), "20000229T235959Z");
        assert_eq!(of(4_107_542_400), "21000301T000000Z");
        assert_eq!(of(1 << 40), "19700101T000000Z");
    }

    /// Made by `systemd-id128 machine-id --app-specific=6d1f54b7530c4e1a9a6c2b7d4f0e8831` of systemd, with this id in
    /// `/etc/machine-id`.
    #[test]
    fn the_hash_is_the_one_that_systemd_makes() {
        let hash = machine_hash("0123456789abcdef0123456789abcdef");
        assert_eq!(hash.as_deref(), Some("7bc82c739ff044a3b837564b22854a42"));
        for none in [
            "",
            "uninitialized",
            "0123",
            "00000000000000000000000000000000",
            "+123456789abcdef0123456789abcdef",
        ] {
            assert_eq!(machine_hash(none), None, "{none}");
        }
    }
}
