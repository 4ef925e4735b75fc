//! The environment of both programs: only the variables on a list reach libraries and plugins. Others can make a library
//! print secrets (`AGEDEBUG=plugin` prints the file key), and whoever started the program need not have meant that.
//!
//! A program whose environment holds more replaces itself, first thing, by itself with the rest (execve(2)). That is
//! safe Rust, other than taking variables away from a running process, and leaves none in `/proc/PID/environ`. It cannot
//! go on for ever: a variable of ours marks the second start, which does not try again.
//!
//! The analyst's program may run a command of the user's (`mount DUMP DIR -- COMMAND`), which gets the whole environment.
//! The variables left out reach the second start in a file in memory (memfd_create(2)), which it reads and closes before
//! any library runs. The mark holds its descriptor's number alone.

use crate::crypt::is_for_identity_plugins;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
#[cfg(feature = "analyst")]
use {
    rustix::fs::{MemfdFlags, memfd_create},
    std::fs::{self, File},
    std::io::Write as _,
    std::os::fd::{IntoRawFd, RawFd},
    std::os::unix::ffi::{OsStrExt, OsStringExt},
    std::sync::OnceLock,
};

/// Marks the second start. Its value is the number of the descriptor that holds the variables left out, or empty.
pub(super) const MARK: &str = "VMCORE_ENCRYPT_ENVIRONMENT";
/// What both programs use: where programs and temporary files are, how text and time are shown.
const COMMON: [&str; 12] =
    [MARK, "PATH", "HOME", "USER", "LOGNAME", "TERM", "COLUMNS", "LINES", "NO_COLOR", "LANG", "TZ", "TMPDIR"];
/// What the analyst's program uses too: the default identity, its cache, trust in servers. Proxies and what its plugins get are
/// listed elsewhere.
const ANALYST: [&str; 5] =
    ["VMCORE_DECRYPT_IDENTITY", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR"];
/// How names of what an object store is reached with begin.
const STORES: [&str; 4] = ["AWS_", "GOOGLE_", "AZURE_", "SSL_CERT_"];
const PROXIES: [&str; 4] = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"];
/// Name of the file in memory, and how a link to its descriptor begins.
#[cfg(feature = "analyst")]
const LEFT_OUT: &str = "vmcore-encrypt-environment";
/// What was left out at the first start.
#[cfg(feature = "analyst")]
static CARRIED: OnceLock<Vec<u8>> = OnceLock::new();

/// Whose list holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// `vmcore-encrypt`.
    Collector,
    /// `vmcore-decrypt`.
    Analyst,
}

/// Returns when the environment holds nothing but the list; else starts the program again so that it does.
///
/// # Errors
/// The program cannot be started again, or was and the environment still holds more, or what the mark names is not ours.
pub(super) fn clean(program: Program) -> io::Result<()> {
    let (kept, left_out): (Vec<_>, Vec<_>) = env::vars_os().partition(|(name, _)| is_listed(program, name));
    if let Some(mark) = env::var_os(MARK) {
        take_carried(program, &mark)?;
        return if left_out.is_empty() {
            Ok(())
        } else {
            Err(io::Error::other("it was done already, and unknown variables are still there"))
        };
    }
    if left_out.is_empty() {
        return Ok(());
    }
    let mut words = env::args_os();
    let mut again = Command::new(own_path()?);
    if let Some(name) = words.next() {
        again.arg0(name);
    }
    let mark = carry(program, &left_out)?;
    Err(again.args(words).env_clear().envs(kept).env(MARK, mark).exec())
}

/// The collector runs no command of the user's.
#[cfg(not(feature = "analyst"))]
fn carry(_: Program, _: &[(OsString, OsString)]) -> io::Result<String> {
    Ok(String::new())
}

#[cfg(not(feature = "analyst"))]
fn take_carried(_: Program, _: &OsStr) -> io::Result<()> {
    Ok(())
}

/// Puts variables where the second start finds them; gives the mark's value.
#[cfg(feature = "analyst")]
fn carry(program: Program, variables: &[(OsString, OsString)]) -> io::Result<String> {
    if program == Program::Collector {
        return Ok(String::new());
    }
    // Kept open by execve(2): no CLOEXEC.
    let mut file = File::from(memfd_create(LEFT_OUT, MemfdFlags::empty())?);
    file.write_all(&joined(variables))?;
    Ok(file.into_raw_fd().to_string())
}

/// Reads and closes what [`carry`] left. Nothing else has run, so the descriptor is ours when it is that file.
#[cfg(feature = "analyst")]
fn take_carried(program: Program, mark: &OsStr) -> io::Result<()> {
    if program == Program::Collector || mark.is_empty() {
        return Ok(());
    }
    let foreign = || io::Error::other(format!("{MARK} is set, and not by this program"));
    let number: RawFd = mark.to_str().and_then(|text| text.parse().ok()).ok_or_else(foreign)?;
    let path = PathBuf::from(format!("/proc/self/fd/{number}"));
    let target = fs::read_link(&path).map_err(|_| foreign())?;
    if !target.as_os_str().as_bytes().starts_with(format!("/memfd:{LEFT_OUT}").as_bytes()) {
        return Err(foreign());
    }
    // Opened anew it is read from its start.
    let bytes = fs::read(&path)?;
    nix::unistd::close(number)?;
    // The first to be read stays.
    let _ = CARRIED.set(bytes);
    Ok(())
}

/// The variables that were left out, for a command that the user gave and that is no part of this program.
#[cfg(feature = "analyst")]
#[must_use]
pub(super) fn left_out() -> Vec<(OsString, OsString)> {
    CARRIED.get().map(|bytes| split(bytes)).unwrap_or_default()
}

/// `NAME=VALUE`, each ended by a zero byte, as in `/proc/PID/environ`.
#[cfg(feature = "analyst")]
fn joined(variables: &[(OsString, OsString)]) -> Vec<u8> {
    let text =
        |(name, value): &(OsString, OsString)| [name.as_bytes(), b"=", value.as_bytes(), b"\0"].concat();
    variables.iter().flat_map(text).collect()
}

#[cfg(feature = "analyst")]
fn split(bytes: &[u8]) -> Vec<(OsString, OsString)> {
    let pairs = bytes.split(|&byte| byte == 0).filter_map(|pair| {
        let at = pair.iter().position(|&byte| byte == b'=').filter(|&at| at > 0)?;
        Some((OsString::from_vec(pair[..at].to_vec()), OsString::from_vec(pair[at + 1..].to_vec())))
    });
    pairs.collect()
}

fn is_listed(program: Program, name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let analyst = || {
        ANALYST.contains(&name)
            || is_for_identity_plugins(name)
            || name.starts_with("AWS_")
            || PROXIES.contains(&&*name.to_ascii_lowercase())
    };
    let stores = || cfg!(feature = "upload") && STORES.iter().any(|store| name.starts_with(store));
    COMMON.contains(&name)
        || name.starts_with("LC_")
        || stores()
        || (program == Program::Analyst && analyst())
}

/// The program's file, by its own name, which `ps` shows; by the kernel's link where the file is gone.
pub(super) fn own_path() -> io::Result<PathBuf> {
    let link = Path::new("/proc/self/exe");
    Ok(env::current_exe().ok().filter(|path| path.is_file()).unwrap_or_else(|| link.to_owned()))
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
        for name in ["https_proxy", "NO_PROXY", "GPG_TTY", "DISPLAY", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"] {
            assert!(!listed(Program::Collector, name) && listed(Program::Analyst, name), "{name}");
        }
        for name in ["AWS_REGION", "SSL_CERT_FILE"] {
            assert_eq!(listed(Program::Collector, name), cfg!(feature = "upload"), "{name}");
            assert!(listed(Program::Analyst, name), "{name}");
        }
        for name in
            ["AGEDEBUG", "agedebug", "LD_PRELOAD", "RUST_BACKTRACE", "RUST_LOG", "MALLOC_CONF", "", "path"]
        {
            assert!(!listed(Program::Collector, name) && !listed(Program::Analyst, name), "{name}");
        }
    }

    #[cfg(feature = "analyst")]
    #[test]
    fn what_was_left_out_reads_back() {
        let pairs = vec![(OsString::from("A"), OsString::from("x=y\nz")), ("B".into(), OsString::new())];
        assert_eq!(joined(&pairs), b"A=x=y\nz\0B=\0");
        assert_eq!(split(&joined(&pairs)), pairs);
        assert!(split(b"").is_empty() && split(b"=x\0y\0").is_empty());
    }

    #[cfg(feature = "analyst")]
    #[test]
    fn a_mark_that_names_no_file_of_ours_is_refused_and_closes_nothing() {
        use std::os::fd::AsRawFd;
        let file = File::open("/dev/null").unwrap();
        for mark in [file.as_raw_fd().to_string(), "x".to_owned(), "-1".to_owned(), "1000000".to_owned()] {
            assert!(take_carried(Program::Analyst, OsStr::new(&mark)).is_err(), "{mark}");
        }
        assert!(file.metadata().is_ok());
    }
}
