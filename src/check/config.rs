//! `/etc/vmcore-encrypt/config`: one `KEY=value` a line, as the saving scripts read it. An unknown key or value
//! stops those scripts in the capture kernel, so it is a problem now.

use super::findings::Findings;
use super::machine::Machine;
use std::collections::BTreeMap;
use std::io;

/// Where it is.
pub const PATH: &str = "/etc/vmcore-encrypt/config";
const CHECK: &str = "config";

/// Who chooses the dump target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chooser {
    /// The distribution's kdump scripts.
    #[default]
    Kdump,
    /// Our script: a file on a device.
    File,
    /// Our script: a device itself.
    Raw,
}

/// What the configuration says.
#[derive(Debug, Default)]
pub struct Config {
    /// Who chooses the target.
    pub chooser: Chooser,
    values: BTreeMap<String, String>,
}

impl Config {
    /// Reads and checks it; one that is absent says nothing.
    pub fn read(machine: &Machine, findings: &mut Findings) -> Config {
        let text = match machine.read(PATH) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                findings.problem(CHECK, format!("reading {PATH}: {error}"), "");
                return Config::default();
            }
        };
        let mut config = Config::default();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !is_comment(line)) {
            if let Err(why) = config.take(line) {
                let place = format!("{PATH}, line {}: {why}", number + 1);
                findings.problem(CHECK, place, "the file kdump-module/config explains every key");
            }
        }
        config.check_device(findings);
        config
    }

    fn take(&mut self, line: &str) -> Result<(), String> {
        let (key, value) = line.split_once('=').ok_or("not KEY=value")?;
        match key {
            "TARGET" => self.chooser = chooser(value)?,
            "DMESG" => one_of(value, &["yes", "no"])?,
            "ON_SUCCESS" | "ON_FAILURE" => one_of(value, &["reboot", "poweroff", "halt"])?,
            "RESERVE" | "KEEP" | "DEVICE_TIMEOUT" => {
                value.parse::<u32>().map(drop).map_err(|_| format!("{value:?} is not a number"))?;
            }
            "DUMP_LEVEL" => {
                let valid = value.split(',').all(|level| level.parse::<u8>().is_ok_and(|level| level < 32));
                valid.then_some(()).ok_or(format!("{value:?} is no list of dump levels"))?;
            }
            "DEVICE" | "FSTYPE" | "DIRECTORY" | "COLLECTOR_ARGS" | "COLLECT_DIR" => {}
            _ => return Err(format!("unknown key {key:?}")),
        }
        self.values.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    fn check_device(&self, findings: &mut Findings) {
        if self.chooser != Chooser::Kdump && self.get("DEVICE").is_none_or(str::is_empty) {
            findings.problem(CHECK, format!("{PATH}: TARGET needs DEVICE"), "name a device or UUID=...");
        }
    }

    /// A key's value, where the file has one.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }
}

fn is_comment(line: &str) -> bool {
    line.is_empty() || line.starts_with('#')
}

fn chooser(value: &str) -> Result<Chooser, String> {
    one_of(value, &["kdump", "file", "raw"])?;
    Ok(match value {
        "file" => Chooser::File,
        "raw" => Chooser::Raw,
        _ => Chooser::Kdump,
    })
}

fn one_of(value: &str, choices: &[&str]) -> Result<(), String> {
    choices.contains(&value).then_some(()).ok_or(format!("{value:?} is not one of: {}", choices.join(", ")))
}
