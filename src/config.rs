//! `/etc/vmcore-encrypt/config`: the one definition of its keys, their defaults and what each value may be. `check`
//! reads it here, and so do the saving scripts, which take [`Config::assignments`] from `vmcore-encrypt config`. What
//! the words of `COLLECTOR_ARGS` mean is not decided here: only the command line knows that.

use crate::filter::DumpLevel;
use std::fmt;

/// The path on a machine and in its kdump image.
pub const PATH: &str = "/etc/vmcore-encrypt/config";
/// The most bytes of a configuration: people write it.
pub const MAX_SIZE: u64 = 1 << 20;
/// The longest part of a value that a message repeats, in characters.
const SHOWN: usize = 64;

/// Who chooses the dump target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The distribution's kdump scripts.
    Kdump,
    /// Our script `save`: a file on the device `DEVICE`.
    File,
    /// Our script `save`: the device `DEVICE` itself.
    Raw,
    /// Our scripts: objects in the store at `URL`, over the network.
    Store,
}

/// A checked configuration: a value for every key.
#[derive(Clone, Debug)]
pub struct Config(Vec<(&'static str, String)>);

/// A fault in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, counted from 1; absent where a line is missing.
    pub line: Option<usize>,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

/// A key: its name, its default, and the form in which a value is kept, or why it is refused.
struct Key {
    name: &'static str,
    default: &'static str,
    check: fn(&str) -> Result<String, String>,
}

const KEYS: &[Key] = &[
    key("TARGET", "kdump", |value| one_of(value, &["kdump", "file", "raw", "store"])),
    key("DEVICE", "", device),
    key("FSTYPE", "", file_system),
    key("URL", "", url),
    key("NETWORK", "dhcp", network),
    key("DIRECTORY", "/crash", directory),
    key("RESERVE", "64", number),
    key("KEEP", "3", number),
    key("DEVICE_TIMEOUT", "60", number),
    key("DUMP_LEVEL", "31", levels),
    key("COLLECTOR_ARGS", "", text),
    key("DMESG", "yes", |value| one_of(value, &["yes", "no"])),
    key("ON_SUCCESS", "reboot", action),
    key("ON_FAILURE", "reboot", action),
    key("COLLECT_DIR", "/var/crash", absolute),
];

const fn key(name: &'static str, default: &'static str, check: fn(&str) -> Result<String, String>) -> Key {
    Key { name, default, check }
}

impl Default for Config {
    fn default() -> Config {
        Config(KEYS.iter().map(|key| (key.name, key.default.to_owned())).collect())
    }
}

impl Config {
    /// Parses a configuration: `KEY=value` per line, the value as it stands. Empty lines and lines that begin with `#`
    /// are comments; of several lines with one key the last one counts.
    ///
    /// # Errors
    /// Every [`Fault`], in the order of the lines.
    pub fn parse(bytes: &[u8]) -> Result<Config, Vec<Fault>> {
        match Config::parse_with_faults(bytes) {
            (config, faults) if faults.is_empty() => Ok(config),
            (_, faults) => Err(faults),
        }
    }

    /// As [`Config::parse`], for a report that goes on: a key whose line is at fault keeps its value.
    #[must_use]
    pub fn parse_with_faults(bytes: &[u8]) -> (Config, Vec<Fault>) {
        let mut config = Config::default();
        let mut faults = Vec::new();
        for (at, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            if let Err(why) = config.take(line) {
                faults.push(Fault { line: Some(at + 1), why });
            }
        }
        if let Some(key) = config.missing() {
            let why = format!("TARGET={} needs {key}", config.get("TARGET"));
            faults.push(Fault { line: None, why });
        }
        (config, faults)
    }

    fn take(&mut self, line: &[u8]) -> Result<(), String> {
        let line = std::str::from_utf8(line).map_err(|_| "not UTF-8".to_owned())?;
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if line.starts_with('\u{feff}') {
            return Err("the file begins with a byte order mark: save it without one".to_owned());
        }
        if line.chars().any(char::is_control) {
            return Err("a control character, such as the carriage return of another system".to_owned());
        }
        if line.chars().any(is_hidden) {
            return Err("a character that a terminal does not show, or that turns the text around".to_owned());
        }
        let (name, value) = line.split_once('=').ok_or("not KEY=value")?;
        let at = KEYS.iter().position(|key| key.name == name);
        let at = at.ok_or_else(|| format!("unknown key {}", shown(name)))?;
        let checked = (KEYS[at].check)(value).map_err(|why| format!("{name} is {}, {why}", shown(value)))?;
        self.0[at].1 = checked;
        Ok(())
    }

    /// The value of a key; empty for a key that does not exist.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    }

    /// `TARGET`.
    #[must_use]
    pub fn target(&self) -> Target {
        match self.get("TARGET") {
            "file" => Target::File,
            "raw" => Target::Raw,
            "store" => Target::Store,
            _ => Target::Kdump,
        }
    }

    /// The key that the target needs and that has no value. Where URLs made beforehand are in the words, no `URL` is needed.
    fn missing(&self) -> Option<&'static str> {
        match self.target() {
            Target::File | Target::Raw if self.get("DEVICE").is_empty() => Some("DEVICE"),
            Target::Store if self.get("URL").is_empty() && !self.has_presigned() => Some("URL"),
            _ => None,
        }
    }

    fn has_presigned(&self) -> bool {
        let is_option = |word: &str| word == "--presigned" || word.starts_with("--presigned=");
        self.get("COLLECTOR_ARGS").split([' ', '\t']).any(is_option)
    }

    /// `DUMP_LEVEL`: the levels in the order in which they are tried.
    #[must_use]
    pub fn levels(&self) -> Vec<DumpLevel> {
        self.get("DUMP_LEVEL").split(',').filter_map(|level| level.parse().ok()).collect()
    }

    /// Every key as an assignment of POSIX sh, one per line. Values are in single quotes, so that a shell that
    /// evaluates the text runs nothing of them.
    #[must_use]
    pub fn assignments(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name}='{}'\n", value.replace('\'', r"'\''"))).collect()
    }
}

/// Characters without a width, other ends of lines, and those that change the direction of a text: a line with one of them is
/// not what it looks like. Source: Unicode 16, general categories Cf, Zl and Zp, those that text in a script may need left out.
fn is_hidden(char: char) -> bool {
    matches!(char, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A foreign text as messages repeat it: quoted, short, and never an identity that was pasted into the wrong file.
fn shown(text: &str) -> String {
    if text.to_ascii_uppercase().contains("AGE-SECRET-KEY-") {
        return "\"AGE-SECRET-KEY-...\"".to_owned();
    }
    // A URL may hold a password, or a query that is the right to write.
    if let Some((scheme, _)) = text.split_once("://") {
        return format!("{:?}...", scheme.chars().take(SHOWN).chain("://".chars()).collect::<String>());
    }
    let start: String = text.chars().take(SHOWN).collect();
    let rest = if start.len() < text.len() { "..." } else { "" };
    format!("{start:?}{rest}")
}

fn text(value: &str) -> Result<String, String> {
    Ok(value.to_owned())
}

fn one_of(value: &str, choices: &[&str]) -> Result<String, String> {
    let found = choices.iter().find(|choice| **choice == value);
    found.map(|choice| (*choice).to_owned()).ok_or_else(|| format!("not one of: {}", choices.join(", ")))
}

fn action(value: &str) -> Result<String, String> {
    one_of(value, &["reboot", "poweroff", "halt"])
}

/// In the form without leading zeros, which sh takes for an octal number, and at most what every shell can reckon with.
fn number(value: &str) -> Result<String, String> {
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(value.parse::<u32>().unwrap_or(u32::MAX).to_string())
    } else {
        Err("not a number".to_owned())
    }
}

fn levels(value: &str) -> Result<String, String> {
    let levels: Result<Vec<DumpLevel>, _> = value.split(',').map(str::parse).collect();
    let levels = levels.map_err(|_| "not dump levels from 0 to 31 with commas between them".to_owned())?;
    Ok(levels.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
}

/// Where udev puts a device: a path, or a tag that has a directory below `/dev/disk`.
fn device(value: &str) -> Result<String, String> {
    const TAGS: [&str; 4] = ["UUID", "LABEL", "PARTUUID", "PARTLABEL"];
    let is_tag = value.split_once('=').is_some_and(|(tag, value)| TAGS.contains(&tag) && !value.is_empty());
    if value.is_empty() || value.starts_with('/') || is_tag {
        text(value)
    } else {
        Err("not a path, UUID=, LABEL=, PARTUUID= or PARTLABEL=".to_owned())
    }
}

fn file_system(value: &str) -> Result<String, String> {
    let is_name =
        value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    if is_name && !value.starts_with('-') { text(value) } else { Err("not a type of file system".to_owned()) }
}

/// Where objects go. A user's name, a password or a query would be the right to write, which is never on a command line.
fn url(value: &str) -> Result<String, String> {
    const SCHEMES: [&str; 4] = ["s3://", "gs://", "az://", "https://"];
    let is_plain = value.bytes().all(|byte| byte.is_ascii_graphic() && !b"@?#\\\"'".contains(&byte));
    let has_place =
        SCHEMES.iter().any(|scheme| value.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
    if value.is_empty() || (is_plain && has_place) {
        crate::url::check(value)?;
        text(value)
    } else {
        Err("not s3://, gs://, az:// or https:// with a place, and without credentials".to_owned())
    }
}

/// How the network comes up in an image of our own: what stands after `ip=` on a command line (dracut.cmdline(7)).
fn network(value: &str) -> Result<String, String> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b".:-_[]/".contains(&byte);
    if !value.is_empty() && value.bytes().all(is_word) {
        text(value)
    } else {
        Err("not dhcp or another value of ip= as in dracut.cmdline(7)".to_owned())
    }
}

/// A path on the target. With `..` in it the dump would land beside the target, in the capture kernel's memory.
fn directory(value: &str) -> Result<String, String> {
    if !value.split('/').any(|part| part == "..") {
        text(value)
    } else {
        Err("it must not leave the device".to_owned())
    }
}

fn absolute(value: &str) -> Result<String, String> {
    if value.starts_with('/') { directory(value) } else { Err("not a path that begins with /".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn faults(text: &str) -> Vec<String> {
        let faults = Config::parse(text.as_bytes()).unwrap_err();
        faults.iter().map(ToString::to_string).collect()
    }

    fn value(line: &str, key: &str) -> String {
        Config::parse(line.as_bytes()).unwrap().get(key).to_owned()
    }

    #[test]
    fn every_key_has_a_default_that_it_accepts() {
        for key in KEYS {
            assert_eq!((key.check)(key.default), Ok(key.default.to_owned()), "{}", key.name);
        }
        let config = Config::parse(b"").unwrap();
        assert_eq!((config.target(), config.get("KEEP"), config.get("NO_KEY")), (Target::Kdump, "3", ""));
        assert_eq!(config.levels(), [DumpLevel::ALL]);
    }

    #[test]
    fn values_are_kept_as_they_stand_and_numbers_in_one_form() {
        assert_eq!(value("# x\n\nKEEP=1\nKEEP=08", "KEEP"), "8");
        assert_eq!(value("DUMP_LEVEL=01,31", "DUMP_LEVEL"), "1,31");
        assert_eq!(value("COLLECTOR_ARGS= -z  'a' # no comment", "COLLECTOR_ARGS"), " -z  'a' # no comment");
        assert_eq!(value("RESERVE=0004294967295", "RESERVE"), "4294967295");
        assert_eq!(value("KEEP=99999999999999999999999999", "KEEP"), "4294967295");
        assert_eq!(value("DIRECTORY=crash", "DIRECTORY"), "crash");
        let config = Config::parse(b"TARGET=raw\nDEVICE=PARTLABEL=a=b").unwrap();
        assert_eq!((config.target(), config.get("DEVICE")), (Target::Raw, "PARTLABEL=a=b"));
    }

    #[test]
    fn every_fault_names_its_line() {
        assert_eq!(
            faults("TARGTE=file\nKEEP=1\njust words\nTARGET=usb\n"),
            [
                "line 1: unknown key \"TARGTE\"",
                "line 3: not KEY=value",
                "line 4: TARGET is \"usb\", not one of: kdump, file, raw, store",
            ]
        );
        for bad in [
            "DUMP_LEVEL=99",
            "DUMP_LEVEL=1,,31",
            "DUMP_LEVEL=",
            "DUMP_LEVEL=+1",
            "RESERVE=-1",
            "KEEP=",
            "KEEP= 3",
            "DEVICE_TIMEOUT=1e3",
            "DMESG=maybe",
            "ON_FAILURE=shell",
            "DEVICE=sda1",
            "DEVICE=UUID=",
            "FSTYPE=ext4,ro",
            "FSTYPE=--bind",
            "DIRECTORY=/crash/../..",
            "COLLECT_DIR=",
            "TARGET=file",
            "TARGET=store",
            "URL=s3://",
            "URL=http://host/",
            "URL=https://user:word@host/",
            "URL=https://host/?sig=x",
            "URL=s3://a b",
            "URL=s3://crashes/../x/",
            "URL=gs://crashes/a//b/",
            "URL=az://crashes/%2e%2E/b/",
            "URL=https://host/./b/",
            "URL=https://host/{a}/",
            "NETWORK=",
            "NETWORK=dhcp rd.break",
            "KEEP=3\r",
            "\u{feff}KEEP=3",
            " KEEP=3",
            "KEEP =3",
        ] {
            assert_eq!(faults(bad).len(), 1, "{bad:?}");
        }
        assert!(Config::parse(b"COLLECTOR_ARGS=\xff").is_err());
        for hidden in ["\u{202e}", "\u{200b}", "\u{2066}", "\u{2028}", "\u{9b}", "\u{1b}", "\u{feff}"] {
            assert_eq!(faults(&format!("DIRECTORY=/a{hidden}b")).len(), 1, "{hidden:?}");
        }
        assert!(Config::parse("DIRECTORY=/cr\u{e9}e\u{301}".as_bytes()).is_ok());
        assert!(Config::parse(b"COLLECTOR_ARGS=a\0b").is_err());
    }

    #[test]
    fn a_store_needs_a_place_or_urls_made_beforehand() {
        let config = Config::parse(b"TARGET=store\nURL=s3://crashes/4f0c/\n").unwrap();
        assert_eq!((config.target(), config.get("NETWORK")), (Target::Store, "dhcp"));
        assert!(Config::parse(b"TARGET=store\nCOLLECTOR_ARGS=--presigned /etc/urls").is_ok());
        let network = "10.0.0.9::10.0.0.1:255.255.255.0::eth0:none";
        assert_eq!(value(&format!("NETWORK={network}"), "NETWORK"), network);
        assert_eq!(faults("TARGET=store"), ["TARGET=store needs URL"]);
    }

    #[test]
    fn a_line_at_fault_leaves_the_others_and_no_message_repeats_an_identity() {
        let (config, faults) = Config::parse_with_faults(b"KEEP=9\nKEEP=x\nRESERVE=1\n");
        assert_eq!((config.get("KEEP"), config.get("RESERVE"), faults.len()), ("9", "1", 1));
        let told = super::tests::faults(&format!("KEEP=age-secret-key-1{}\n", "q".repeat(90)));
        assert_eq!(told, ["line 1: KEEP is \"AGE-SECRET-KEY-...\", not a number"]);
        assert!(super::tests::faults(&format!("KEEP={}\n", "x".repeat(9999)))[0].len() < 200);
    }

    /// A shell that evaluates the assignments has the values, and runs nothing.
    #[test]
    fn no_message_shows_what_a_url_holds() {
        for line in
            ["URL=https://u:secret@h/x/", "URL=https://h/x?sig=secret", "COLLECTOR_ARGS=s3://k:secret@x/ y"]
        {
            let fault = faults(&format!("TARGET=store\n{line}\n"));
            assert!(!fault.is_empty() && !fault.concat().contains("secret"), "{line}: {fault:?}");
        }
    }

    #[test]
    fn assignments_are_data_to_a_shell() {
        let words = r#"a'b "$(echo run)" `echo run` \ $HOME ; & * '' é"#;
        let text = format!("COLLECTOR_ARGS={words}\nDIRECTORY=/it's\n");
        let assignments = Config::parse(text.as_bytes()).unwrap().assignments();
        let print = "eval \"$1\"; printf '%s\\n' \"$COLLECTOR_ARGS\" \"$DIRECTORY\" \"$KEEP\"";
        let output = Command::new("sh").args(["-c", print, "sh", &assignments]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{words}\n/it's\n3\n"));
        assert_eq!(assignments.lines().count(), KEYS.len());
    }
}
