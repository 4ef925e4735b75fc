//! The environment of both programs: only the variables on a list reach libraries and plugins. Others can make a library
//! print secrets (`AGEDEBUG=plugin` prints the file key), and whoever started the program need not have meant that.
//!
//! A program whose environment holds more replaces itself, first thing, by itself with the rest (execve(2)). That is
//! safe Rust, other than taking variables away from a running process, and leaves none in `/proc/PID/environ`. It cannot
//! go on for ever: a variable of ours marks the second start, which does not try again.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io;
use std::os::unix::ffi::OsStrExt;
#[cfg(feature = "analyst")]
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Marks the second start. Its value is the variables left out, for a command of the user's, as hex.
pub const MARK: &str = "VMCORE_ENCRYPT_ENVIRONMENT";
/// What both programs use: where programs and temporary files are, how text and time are shown.
const COMMON: [&str; 12] =
    [MARK, "PATH", "HOME", "USER", "LOGNAME", "TERM", "COLUMNS", "LINES", "NO_COLOR", "LANG", "TZ", "TMPDIR"];
/// What the analyst's program uses too: trust in servers, proxies, and what plugins ask a person through.
const ANALYST: [&str; 9] = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "GPG_TTY",
];
const PROXIES: [&str; 4] = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"];
/// Bytes of variables that the mark carries: below what one variable may take (Linux `include/uapi/linux/binfmts.h`,
/// `MAX_ARG_STRLEN`, 128 KiB), in hex.
const MAX_CARRIED: usize = 60 << 10;

/// Whose list holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `vmcore-encrypt`.
    Collector,
    /// `vmcore-decrypt`.
    Analyst,
}

/// Returns when the environment holds nothing but the list; else starts the program again so that it does.
///
/// # Errors
/// The program cannot be started again, or was and the environment still holds more.
pub fn clean(program: Program) -> io::Result<()> {
    let (kept, left_out): (Vec<_>, Vec<_>) = env::vars_os().partition(|(name, _)| is_listed(program, name));
    if left_out.is_empty() {
        return Ok(());
    }
    if env::var_os(MARK).is_some() {
        return Err(io::Error::other("it was done already, and unknown variables are still there"));
    }
    let mut words = env::args_os();
    let mut again = Command::new(own_path()?);
    if let Some(name) = words.next() {
        again.arg0(name);
    }
    // The collector runs no command of the user's.
    let mark = if program == Program::Analyst { carried(&left_out) } else { String::new() };
    Err(again.args(words).env_clear().envs(kept).env(MARK, mark).exec())
}

#[cfg(feature = "analyst")]
/// The variables that were left out, for a command that the user gave and that is no part of this program.
#[must_use]
pub fn left_out() -> Vec<(OsString, OsString)> {
    let mark = env::var_os(MARK).unwrap_or_default();
    let bytes: Option<Vec<u8>> = mark.as_bytes().chunks(2).map(byte_of).collect();
    let bytes = bytes.unwrap_or_default();
    let pairs = bytes.split(|&byte| byte == 0).filter_map(|pair| {
        let at = pair.iter().position(|&byte| byte == b'=').filter(|&at| at > 0)?;
        Some((OsString::from_vec(pair[..at].to_vec()), OsString::from_vec(pair[at + 1..].to_vec())))
    });
    pairs.collect()
}

fn is_listed(program: Program, name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let analyst = || {
        ANALYST.contains(&name) || name.starts_with("AWS_") || PROXIES.contains(&&*name.to_ascii_lowercase())
    };
    COMMON.contains(&name) || name.starts_with("LC_") || (program == Program::Analyst && analyst())
}

/// The program's file, by its own name, which `ps` shows; by the kernel's link where the file is gone.
fn own_path() -> io::Result<PathBuf> {
    let link = Path::new("/proc/self/exe");
    Ok(env::current_exe().ok().filter(|path| path.is_file()).unwrap_or_else(|| link.to_owned()))
}

/// `NAME=VALUE`, each ended by a zero byte, in hex. Nothing where that is too much: then a command does without.
fn carried(variables: &[(OsString, OsString)]) -> String {
    let size: usize = variables.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    let mut hex = String::new();
    if size > MAX_CARRIED {
        return hex;
    }
    for (name, value) in variables {
        for byte in [name.as_bytes(), b"=", value.as_bytes(), b"\0"].concat() {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
    }
    hex
}

#[cfg(feature = "analyst")]
fn byte_of(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_has_its_list() {
        let listed = |program, name: &str| is_listed(program, OsStr::new(name));
        for name in ["PATH", "LC_ALL", "TERM", "NO_COLOR", "TMPDIR"] {
            assert!(listed(Program::Collector, name) && listed(Program::Analyst, name), "{name}");
        }
        for name in ["AWS_REGION", "https_proxy", "NO_PROXY", "SSL_CERT_FILE"] {
            assert!(!listed(Program::Collector, name) && listed(Program::Analyst, name), "{name}");
        }
        for name in
            ["AGEDEBUG", "agedebug", "LD_PRELOAD", "RUST_BACKTRACE", "RUST_LOG", "MALLOC_CONF", "", "path"]
        {
            assert!(!listed(Program::Collector, name) && !listed(Program::Analyst, name), "{name}");
        }
    }

    #[test]
    fn what_was_left_out_is_carried_in_hex() {
        let pairs = vec![(OsString::from("A"), OsString::from("x=y")), ("B".into(), OsString::new())];
        assert_eq!(carried(&pairs), "413d783d7900423d00");
        let long = vec![(OsString::from("A"), OsString::from("x".repeat(MAX_CARRIED)))];
        assert_eq!(carried(&long), "");
    }
}
